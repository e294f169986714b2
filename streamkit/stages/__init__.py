"""The stages, one per file. No stage imports another."""
