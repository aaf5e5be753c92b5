"""`alchemy scope …`: one module a command; each reads through `operations.workspace` and prints a page or JSON."""
