"""Streams live on a local web page, while they pass through their pipelines."""

from streamkit.sinks.watch.server import Watch as Watch
