"""Going back: the timeline of a scope's backups, and what each would change."""
