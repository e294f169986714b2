"""Sinks for streams: the responses of web servers. Each module imports its own framework."""
