"""PromQL syntax: tokens, the tree as written, checks, and the way back to text."""
