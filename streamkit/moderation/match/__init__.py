"""Matching in text that is still arriving: phrases, patterns, detectors, callables, and the resolution of overlaps."""
