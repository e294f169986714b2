"""Convert citations of any provider to the form of chat completions: `url_citation`, with its range in the text.

https://platform.openai.com/docs/guides/tools-web-search. That form can't express a citation of a file, or of a document without
a URL; such citations are left out.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, NamedTuple

from streamkit.dialects.fields import mapping, mappings, numbers
from streamkit.events import Choice

# Kinds of annotations in OpenAI's other APIs, which name a file or quote text.
_NOT_IN_CHAT = ("file_citation", "file_path", "container_file_citation")
_STARTS, _ENDS = ("start_index", "startIndex", "start"), ("end_index", "endIndex", "end")


class CitationSpan(NamedTuple):
    """A range of the answer's text, in code points."""

    start: int
    end: int


class Bytes:
    """Convert positions in UTF-8 bytes to positions in code points of the same text."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces, self._read = pieces, 0
        self._known: list[int] = []

    @property
    def _ends(self) -> list[int]:
        # Pieces may have been appended since the last call.
        text, self._read = "".join(self._pieces[self._read :]), len(self._pieces)
        sizes = (len(letter.encode(errors="surrogatepass")) for letter in text)
        self._known.extend(islice(accumulate(sizes, initial=self._known[-1] if self._known else 0), 1, None))
        return self._known

    def __call__(self, position: int) -> int:
        return bisect_right(self._ends, position)

    def within(self, of: CitationSpan) -> Callable[[int], int]:
        """Return a function that converts positions relative to the start of a part, in bytes and in code points."""
        # Some text may be missing: it was received before the response showed that its positions count bytes.
        ends = self._ends
        known = min(of.start, len(ends))
        begin = ends[known - 1] if known else 0
        return lambda position: self(begin + position) - of.start


def chat_annotations(
    annotation: dict[str, Any], of: CitationSpan, code_points: Bytes, shape: str | None = None
) -> list[dict[str, Any]]:
    """Convert one provider's annotation to annotations of a chat completion; empty if that form can't express it.

    `of`: the range of the text that the annotation belongs to, used if it has no range itself. `code_points` converts Google's
    positions, which count bytes, in the older API from the start of the choice's whole text. `shape`: that of the response.
    """
    if isinstance(annotation.get("url_citation"), dict):
        return [_own(annotation, of)]
    kind = annotation.get("type")
    if isinstance(kind, str) and kind not in _NOT_IN_CHAT and isinstance(annotation.get(kind), dict):
        return [annotation]  # of another kind in the same form, such as OpenRouter's files
    if "groundingChunks" in annotation:
        return list(_grounding(annotation, of, code_points))
    if "sources" in annotation:
        return [
            _citation(mapping(source.get("document")), _place(annotation, of))
            for source in mappings(annotation["sources"])
            if _address(mapping(source.get("document")))
        ]
    if not _address(annotation):
        return []
    # https://ai.google.dev/api/interactions-api: `start_index` also counts bytes.
    in_bytes = "uri" in annotation or shape == "interactions"
    return [_citation(annotation, _place(annotation, of, code_points.within(of) if in_bytes else int))]


def choice_annotations(choice: Choice, shape: str | None) -> list[dict[str, Any]]:
    """Convert the annotations of an assembled choice, without duplicates."""
    spans, start = dict[int, CitationSpan](), 0
    for part in choice.parts:
        if part.channel == "content":
            spans.update(
                (id(annotation), CitationSpan(start, start + len(part.text))) for annotation in part.annotations
            )
            start += len(part.text)
    whole, code_points = CitationSpan(0, len(choice.text)), Bytes([choice.text])
    found = (
        chat
        for annotation in choice.annotations
        for chat in chat_annotations(annotation, spans.get(id(annotation), whole), code_points, shape)
    )
    return list({repr(chat): chat for chat in found}.values())


def _own(annotation: dict[str, Any], of: CitationSpan) -> dict[str, Any]:
    citation = {"start_index": of.start, "end_index": of.end, "title": "", "url": "", **annotation["url_citation"]}
    return {**annotation, "type": "url_citation", "url_citation": citation}


def _citation(source: dict[str, Any], place: CitationSpan) -> dict[str, Any]:
    title = source.get("title")
    citation = {
        "start_index": place.start,
        "end_index": place.end,
        "title": title if isinstance(title, str) else "",
        "url": _address(source),
    }
    return {"type": "url_citation", "url_citation": citation}


def _address(source: dict[str, Any]) -> str | None:
    # `source` is a field of Anthropic's search results and may be any string.
    for name, begins in (("url", ""), ("uri", ""), ("source", ("http://", "https://"))):
        if isinstance(value := source.get(name), str) and value.startswith(begins) and value:
            return value
    return None


def _place(fields: dict[str, Any], of: CitationSpan, position: Callable[[int], int] = int) -> CitationSpan:
    start, end = (
        next((fields[name] for name in names if type(fields.get(name)) is int and fields[name] >= 0), None)
        for names in (_STARTS, _ENDS)
    )
    # Positions count from the start of the part. Google leaves out a start of 0, as in JSON made from protocol buffers.
    return of if end is None else CitationSpan(of.start + position(start or 0), of.start + position(end))


def _grounding(metadata: dict[str, Any], of: CitationSpan, position: Callable[[int], int]) -> Iterator[dict[str, Any]]:
    # https://ai.google.dev/gemini-api/docs/google-search: which chunks support which segment of the text, in bytes.
    sources = [
        next((mapping(chunk[kind]) for kind in ("web", "maps", "retrievedContext") if kind in chunk), dict[str, Any]())
        for chunk in mappings(metadata["groundingChunks"])
    ]
    supports = mappings(metadata.get("groundingSupports"))
    places = [
        (index, _place(mapping(support.get("segment")), of, position))
        for support in supports
        for index in numbers(support.get("groundingChunkIndices"))
    ]
    for index, place in places if supports else ((index, of) for index in range(len(sources))):
        if 0 <= index < len(sources) and _address(sources[index]):
            yield _citation(sources[index], place)
