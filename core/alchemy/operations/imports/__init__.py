"""Readers of state that other tools wrote, and what becomes of it here. Neighbour: `operations.migrating` writes it."""
