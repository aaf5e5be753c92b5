"""How fast, how big, and how many writes: Alchemy Scope beside its peers. `python -m benchmarks --help`."""
