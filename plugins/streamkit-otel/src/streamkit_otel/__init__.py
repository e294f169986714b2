"""One OpenTelemetry span a stream, and the metrics of the GenAI semantic conventions.

pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rules) | Trace(model="gpt-4o") | sk.Accumulate()
"""

from streamkit_otel.trace import Trace

STREAMKIT_API = 1
"""The version of streamkit's plugin interface that this was written for."""

__all__ = ["Trace"]
