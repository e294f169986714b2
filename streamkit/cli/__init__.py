"""The `streamkit` command and the demo provider it can talk to."""
