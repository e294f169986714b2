"""Results as Parquet. Needs pyarrow: the extra `parquet` of streamkit-llm."""

import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from streamkit.batch.result import Result
from streamkit.core.lazy import missing_extra
from streamkit.errors import PipelineError, RecordingError
from streamkit.plugins.config_files import name_of, reason_of

ROWS = 5_000
"""Rows per row group; one row group is in memory at a time."""
TEXTS = ("input", "id", "end", "provider_reason", "error", "model", "response_id", "text", "reasoning", "refusal")
NUMBERS = ("offset", "line", "tokens", "prompt_tokens", "completion_tokens", "total_tokens")
SECONDS = ("first_byte_seconds", "first_token_seconds", "seconds")
JSON = ("tool_calls", "choices", "output", "usage")
"""Nested fields whose structure differs between providers; stored as JSON text."""


def check_pyarrow() -> None:
    """Raise `PipelineError` if pyarrow is not installed."""
    _pyarrow()


def write_parquet(lines: Path, out: Path) -> None:
    """Write the results in `lines` to `out`, which is replaced atomically when the new file is complete.

    A failure leaves `out` as it was, and no incomplete file, since the file is always written from its beginning.
    Raises `RecordingError` if it can't be written, and `PipelineError` for lines that are not results.
    """
    pa, pq = _pyarrow()
    schema = _schema(pa)
    unfinished = out.with_name(f"{out.name}.unfinished")
    try:
        with lines.open("rb") as file, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for rows in _groups(file):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        os.replace(unfinished, out)
    except OSError as error:
        raise RecordingError(f"{name_of(out)} can't be written: {reason_of(error)}") from error
    except (msgspec.MsgspecError, UnicodeError, LookupError, TypeError, pa.ArrowException) as error:
        raise PipelineError(
            f"{name_of(lines)} has lines that are no results: restart the batch (restart=True, --restart)"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _groups(lines: Iterator[bytes]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(lines, ROWS)):
        yield [_row(msgspec.json.decode(line)) for line in chunk]


def _row(values: dict[str, Any]) -> dict[str, Any]:
    packed = {name: None if values[name] is None else msgspec.json.encode(values[name]).decode() for name in JSON}
    return {**values, **packed}


def _schema(pa: Any) -> Any:
    flag = pa.struct(
        [
            *((name, pa.string()) for name in ("action", "category", "channel", "severity", "source")),
            *((name, pa.int64()) for name in ("start", "end", "index", "tool_index")),
        ]
    )
    types = {
        **dict.fromkeys((*TEXTS, *JSON, "cost", "currency"), pa.string()),
        **dict.fromkeys(NUMBERS, pa.int64()),
        **dict.fromkeys(SECONDS, pa.float64()),
        "flagged": pa.bool_(),
        "flags": pa.list_(flag),
    }
    return pa.schema([(name, types[name]) for name in Result.__struct_fields__])


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise PipelineError(missing_extra("writing .parquet", "pyarrow", "parquet")) from error
