"""One OpenTelemetry span per stream, and the metrics of the GenAI semantic conventions.

pipeline = sk.Parse() | sk.Extract() | sk.Moderate(rules) | Trace(model="gpt-4o") | sk.Accumulate()
"""

from streamkit_otel.trace import Trace

STREAMKIT_API = 1
"""The version of streamkit's plugin API that this package was written for."""

__all__ = ["Trace"]
