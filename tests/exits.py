"""A module whose import ends the program, for a test of what names it."""

raise SystemExit(3)
