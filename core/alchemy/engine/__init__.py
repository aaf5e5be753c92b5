"""Effects in order: what a declared resource becomes, and what a finalized scope leaves behind."""
