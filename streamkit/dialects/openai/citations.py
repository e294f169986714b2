"""Citations of any provider in the one form that chat completions have: `url_citation`, with its place in the text.

https://platform.openai.com/docs/guides/tools-web-search. A citation of a file or of a document without an address has no form
there and is left out.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any, NamedTuple

from streamkit.dialects.fields import mapping, mappings, numbers
from streamkit.events import Choice

# Kinds of OpenAI's other APIs, which quote the text or name a file.
_NOT_IN_CHAT = ("file_citation", "file_path", "container_file_citation")
_STARTS, _ENDS = ("start_index", "startIndex", "start"), ("end_index", "endIndex", "end")


class CitationSpan(NamedTuple):
    """A range of the answer's text, in code points."""

    start: int
    end: int


class Bytes:
    """Positions in bytes of UTF-8 as positions in code points of the same text."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces, self._read = pieces, 0
        self._known: list[int] = []

    @property
    def _ends(self) -> list[int]:
        # There may be more pieces than when it was last asked for.
        text, self._read = "".join(self._pieces[self._read :]), len(self._pieces)
        sizes = (len(letter.encode(errors="surrogatepass")) for letter in text)
        self._known.extend(islice(accumulate(sizes, initial=self._known[-1] if self._known else 0), 1, None))
        return self._known

    def __call__(self, position: int) -> int:
        return bisect_right(self._ends, position)

    def within(self, of: CitationSpan) -> Callable[[int], int]:
        """The same for positions that are counted from the beginning of a part, before and after."""
        # The text is not all there where some of it came before the response had said that its places count bytes.
        ends = self._ends
        known = min(of.start, len(ends))
        begin = ends[known - 1] if known else 0
        return lambda position: self(begin + position) - of.start


def chat_annotations(
    annotation: dict[str, Any], of: CitationSpan, code_points: Bytes, shape: str | None = None
) -> list[dict[str, Any]]:
    """The annotations that chat completions have for one of any provider's.

    `of` is the text that it belongs to, for one that names no place; `code_points` is for the places of Google's, which count
    bytes, in the older API of the choice's whole text. `shape` is that of the response.
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
    # https://ai.google.dev/api/interactions-api: `start_index` is measured in bytes there, too.
    in_bytes = "uri" in annotation or shape == "interactions"
    return [_citation(annotation, _place(annotation, of, code_points.within(of) if in_bytes else int))]


def choice_annotations(choice: Choice, shape: str | None) -> list[dict[str, Any]]:
    """The annotations of an assembled choice, each once."""
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
    # `source` is that of Anthropic's search results, which may be any string.
    for name, begins in (("url", ""), ("uri", ""), ("source", ("http://", "https://"))):
        if isinstance(value := source.get(name), str) and value.startswith(begins) and value:
            return value
    return None


def _place(fields: dict[str, Any], of: CitationSpan, position: Callable[[int], int] = int) -> CitationSpan:
    start, end = (
        next((fields[name] for name in names if type(fields.get(name)) is int and fields[name] >= 0), None)
        for names in (_STARTS, _ENDS)
    )
    # A place counts from the beginning of its part. Google leaves out a start of 0, as JSON of protocol buffers may.
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
