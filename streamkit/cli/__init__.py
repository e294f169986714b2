"""The `streamkit` command and its demo provider."""
