"""What decides by meaning: classifiers of windows of text, those behind HTTP, and the provider's own filters."""
