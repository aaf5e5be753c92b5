"""The dashboard: scopes, state, locks and runs in a terminal, live.

Neighbours: `alchemy.operations` reads and acts, `alchemy.model` holds the values; nothing here reaches past them.
"""
