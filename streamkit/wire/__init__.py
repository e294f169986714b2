"""Bytes and text: lines, server-sent events in and out. Nothing here knows of language models."""
