"""Guardrails that decide by meaning: classifiers of windows of text, classifiers over HTTP, the provider's own filters."""
