"""Times in the form of some providers."""

from datetime import UTC, datetime


def seconds(value: object) -> int | None:
    """Convert a time of RFC 3339 to seconds since 1970, the form of OpenAI's `created`; `None` for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None
