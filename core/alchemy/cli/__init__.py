"""Commands and plain-text progress."""
