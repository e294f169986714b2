"""The stages, one a file. No stage imports another."""
