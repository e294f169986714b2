"""A local web page that shows streams live while they are consumed."""

from streamkit.sinks.watch.server import Watch as Watch
