"""The histograms, created once per meter provider: the SDK warns about a second one with the same name."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Histogram, MeterProvider, get_meter_provider

from streamkit_otel import names

# The bucket boundaries that the conventions recommend.
_SECONDS = [0.01 * 2**power for power in range(14)]
_TOKENS = [4.0**power for power in range(14)]


class Instruments(NamedTuple):
    """The metrics of a stream."""

    duration: Histogram
    first_chunk: Histogram
    per_chunk: Histogram
    tokens: Histogram


_made: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()


def instruments(provider: MeterProvider | None) -> Instruments:
    """Return the instruments of this meter provider, or else of the global one."""
    provider = provider or get_meter_provider()
    if (found := _made.get(provider)) is None:
        found = _made[provider] = _make(provider)
    return found


def _make(provider: MeterProvider) -> Instruments:
    meter = provider.get_meter("streamkit_otel")

    def histogram(name: str, unit: str, about: str, bounds: list[float]) -> Histogram:
        return meter.create_histogram(name, unit, about, explicit_bucket_boundaries_advisory=bounds)

    return Instruments(
        histogram(names.DURATION, "s", "GenAI operation duration.", _SECONDS),
        histogram(names.TIME_TO_FIRST_CHUNK, "s", "Time to receive the first chunk of a stream.", _SECONDS),
        histogram(names.TIME_PER_OUTPUT_CHUNK, "s", "Time between one chunk of output and the next.", _SECONDS),
        histogram(names.TOKEN_USAGE, "{token}", "Number of input and output tokens used.", _TOKENS),
    )
