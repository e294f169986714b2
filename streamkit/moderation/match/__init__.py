"""What rules find in text that is still arriving: phrases, patterns, detectors, callables, and how matches overlap."""
