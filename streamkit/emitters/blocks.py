"""Split the answer into consecutive blocks: texts, reasoning, refusals and tool calls.

For formats in which blocks must not interleave. One block is written at a time, as its text arrives. A later block is buffered
until the block before it is complete. A text is complete when another block begins. A call is complete when its part or its
choice ends, or when another block has begun and the call's arguments are a whole JSON value.
"""

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from streamkit.completion import Completion, EndReason
from streamkit.core.stage import cut_short
from streamkit.dialects.finish_reasons import meaning
from streamkit.dialects.openai.response import call_id
from streamkit.dialects.part_data import PartData
from streamkit.dialects.tool_identity import Identity
from streamkit.emitters.emitter import Checkpointed, Frame, Settings
from streamkit.emitters.withheld import WithheldChoices
from streamkit.errors import PipelineError, ProtocolError
from streamkit.events import (
    Annotation,
    AudioDelta,
    Blocked,
    Event,
    Finish,
    Flagged,
    PartDelta,
    PartEnd,
    PartStart,
    ReasoningDelta,
    Redacted,
    RefusalDelta,
    Reset,
    ResponseDetails,
    ResponseStart,
    Retracted,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streamkit.tokens.responses import RELEVANT, Responses

Kind: TypeAlias = Literal["text", "reasoning", "refusal", "call", "item"]
Decision: TypeAlias = Flagged | Redacted | Blocked | Retracted

_KINDS: dict[str | None, Kind] = {
    "content": "text",
    "transcript": "text",
    "reasoning": "reasoning",
    "refusal": "refusal",
}
_MARK = re.compile(r'["\\{}\[\]]')
_CUT: tuple[EndReason, ...] = ("length", "content_filter", "moderated")


class Nesting(msgspec.Struct):
    """Determines whether JSON received in pieces is one whole object or array. It is not validated."""

    depth: int = 0
    quoted: bool = False
    escaped: bool = False
    whole: bool = False

    def feed(self, text: str) -> None:
        """Read the next piece."""
        at = 1 if self.escaped else 0
        self.escaped = False
        while found := _MARK.search(text, at):
            at = found.end()
            if found[0] == "\\":
                self.escaped = at == len(text)
                at += 1
            elif found[0] == '"':
                self.quoted = not self.quoted
            elif not self.quoted:
                self.depth += 1 if found[0] in "{[" else -1
                self.whole = self.depth == 0


class Block(msgspec.Struct):
    """One block of an answer, as `BlockEmitter` passes it to `begin`, `write` and `finish`. Created by `BlockEmitter`.

    Write your own values only to `number` and `id`.
    """

    kind: Kind
    """`text`, `reasoning`, `refusal`, `call` (of a tool), or `item`: a part without text that `takes` has accepted."""
    part: int | None = None
    """The number of the provider's part; `None` if the provider sends none."""
    within: int | None = None
    """The number of the part that contains this one."""
    word: str = ""
    """The provider's kind of part."""
    data: dict[str, Any] = {}
    """The provider's fields of the part besides its text."""
    call: int = 0
    """The index of the tool call in the answer."""
    identity: Identity = msgspec.field(default_factory=Identity)
    """The provider's id, name and type of the tool call."""
    pieces: list[str] = []
    """The text, or the arguments of the call, as received so far."""
    annotations: list[dict[str, Any]] = []
    """The citations of the text."""
    nesting: Nesting = msgspec.field(default_factory=Nesting)
    """Whether the arguments are a whole JSON value."""
    begun: bool = False
    """Whether `begin` was called."""
    ended: bool = False
    """Whether the provider has ended the part."""
    complete: bool = False
    """Whether no more text or arguments can follow."""
    blank: bool = True
    """Whether only white space was received."""
    cut: bool = False
    """Whether the answer was cut in this block."""
    number: int = -1
    """Its number on the wire, if the emitter sets one in `begin`."""
    id: str = ""
    """Its id on the wire, if the emitter sets one in `begin`."""

    @property
    def text(self) -> str:
        """The whole text, or the whole arguments."""
        return "".join(self.pieces)

    @property
    def name(self) -> str:
        """The name of the tool."""
        return self.identity.name or ""

    @property
    def custom(self) -> bool:
        """Whether this is a call of a custom tool, whose input is free text."""
        return self.identity.type == "custom"

    @property
    def whole(self) -> bool:
        """Whether the arguments of this call are a whole JSON value; always false for a custom tool, which takes free text."""
        return self.nesting.whole and not self.custom

    @property
    def ready(self) -> bool:
        """Whether its start can be written. A call's name may grow until its first arguments arrive."""
        if self.kind == "item":
            return self.complete
        return self.complete or self.kind != "call" or bool(self.identity.name and self.pieces)


@dataclass
class BlockEmitter(Checkpointed):
    """Base class of emitters of blocks. Implement `opening`, `begin`, `write`, `finish`, `end` and `error`. Only choice 0 is
    written. `settings` are those of the response.

    A format with a non-streaming response also implements `response`. Without it, `streams_only` is true, so that every client
    receives the stream, whatever it requests; a class that defines `streams_only` itself keeps its value.

    These methods may read `identity`, `shape` (the provider's dialect) and `usage`.
    """

    headers: ClassVar[Mapping[str, str]] = {}
    id_prefix: ClassVar[str] = ""
    streams_only: ClassVar[bool] = True

    settings: Settings
    shape: str | None = field(default=None, init=False, repr=False)
    details: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    word: str | None = field(default=None, init=False, repr=False)
    _identity: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)
    _headed: bool = field(default=False, init=False, repr=False)
    _blocks: list[Block] = field(default_factory=list[Block], init=False, repr=False)
    _front: int = field(default=0, init=False, repr=False)
    # By part number: its data, its start, and the index of its block. By call: the index of its block, and its part.
    _parts: dict[int, PartData] = field(default_factory=dict[int, PartData], init=False, repr=False)
    _starts: dict[int, PartStart] = field(default_factory=dict[int, PartStart], init=False, repr=False)
    _places: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _calls: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _call_parts: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    _containers: set[int] = field(default_factory=set[int], init=False, repr=False)
    _current: dict[str, int] = field(default_factory=dict[str, int], init=False, repr=False)
    # Annotations of texts that have not begun, and (`_late`, by the index of their block) of texts that were finished.
    _early: dict[int, list[dict[str, Any]]] = field(
        default_factory=dict[int, list[dict[str, Any]]], init=False, repr=False
    )
    _late: dict[int, list[dict[str, Any]]] = field(
        default_factory=dict[int, list[dict[str, Any]]], init=False, repr=False
    )
    _last_text: int | None = field(default=None, init=False, repr=False)
    _withheld: WithheldChoices = field(default_factory=WithheldChoices, init=False, repr=False)
    _responses: Responses = field(default_factory=Responses, init=False, repr=False)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "streams_only" not in vars(cls):
            cls.streams_only = cls.response is BlockEmitter.response

    # Frames

    def opening(self) -> Iterable[Frame]:
        """Return the frames that open the response."""
        raise NotImplementedError

    def begin(self, block: Block) -> Iterable[Frame]:
        """Return the frames that open a block."""
        raise NotImplementedError

    def write(self, block: Block, piece: str) -> Iterable[Frame]:
        """Return the frames for a piece of its text, or of its arguments."""
        raise NotImplementedError

    def finish(self, block: Block) -> Iterable[Frame]:
        """Return the frames that close a block."""
        raise NotImplementedError

    def takes(self, part: PartStart) -> bool:
        """Whether a part without text is a block of this format. If so, its `data` is whole when the block begins."""
        return False

    def hidden(self, part: PartStart, data: dict[str, Any]) -> Kind | None:
        """Return the kind of block for a part that ended without text; `None` to write no block.

        By default only reasoning with a signature gets a block: its text is hidden, but clients must send it back.
        """
        return "reasoning" if part.channel == "reasoning" and data.get("signature") else None

    def decided(self, decision: Decision) -> Iterable[Frame]:
        """Return the frames for a moderation decision."""
        return ()

    def keep_alive(self) -> Frame | None:
        return None

    def response(self, completion: Completion, withheld: Container[int] | None) -> dict[str, Any]:
        """Return the non-streaming response; by default there is none, which raises `PipelineError`."""
        raise PipelineError(f"{type(self).__name__} has no non-streaming response: implement `response`")

    # State for the frames

    @property
    def identity(self) -> dict[str, Any]:
        """The `id`, `created` and `model` of the response."""
        id = self.settings.id or f"{self.id_prefix}streamkit"
        return {"id": id, "created": self.settings.created, "model": self.settings.model, **self._identity}

    @property
    def usage(self) -> Usage | None:
        """The provider's usage so far."""
        return self._responses.usage

    @property
    def called(self) -> bool:
        """Whether the answer has tool calls."""
        return bool(self._calls)

    @property
    def refused(self) -> bool:
        """Whether the model refused."""
        return any(block.kind == "refusal" for block in self._blocks)

    @property
    def withheld(self) -> bool:
        """Whether moderation withheld text, which citations may quote."""
        return 0 in self._withheld.choices

    @property
    def late(self) -> list[tuple[Block, list[dict[str, Any]]]]:
        """The blocks that were finished before some of their annotations arrived, with these annotations.

        Write them in `end`, and only if nothing is `withheld`. `Block.annotations` does not contain them.
        """
        return [(self._blocks[place], annotations) for place, annotations in self._late.items()]

    @property
    def has_content(self) -> bool:
        """Whether a block was written."""
        return self._front > 0 or any(block.begun for block in self._blocks[:1])

    def call_id(self, block: Block) -> str:
        """Return the id of a call; a generated id if the provider sent none."""
        known = self.identity
        response = (known["id"], known["created"], known["model"])
        return block.identity.id or call_id(response, 0, block.call, block.identity.name)

    def data_of(self, part: int | None) -> dict[str, Any]:
        """Return the data of a part as received so far, with its texts."""
        known = self._parts.get(part) if part is not None else None
        return known.whole if known else {}

    # Events

    def head(self) -> Iterable[Frame]:
        # A value that was written must not change later, not even a default.
        self._identity, self._headed = self.identity, True
        return self.opening()

    def events(self, events: list[Event]) -> Iterable[Frame]:
        out: list[Frame] = []
        try:
            for event in events:
                if type(event) is TextDelta and self._continues(event, out):
                    continue
                if type(event) in RELEVANT or self._responses.announced:
                    self._responses.take(event)
                if not getattr(event, "index", None):
                    self._take(event, out)
        except (TypeError, ValueError, ProtocolError) as error:
            return cut_short(out, error)
        return out

    def _continues(self, event: TextDelta, out: list[Frame]) -> bool:
        # The hot path: the current text continues.
        if event.index or not self._blocks or not event.text or self._responses.announced:
            return False
        last = self._blocks[-1]
        if last.kind != "text" or not last.begun or last.complete:
            return False
        self._withheld.add(0, len(event.text))
        last.pieces.append(event.text)
        out += self.write(last, event.text)
        return True

    def block(self, verdict: Blocked) -> Iterable[Frame]:
        self._withheld.feed(verdict)
        return self.decided(verdict)

    def restart(self) -> bool:
        has_content = self.has_content
        for known in (self._blocks, self._parts, self._starts, self._places, self._calls, self._call_parts):
            known.clear()
        self._containers.clear()
        self._front, self._last_text = 0, None
        self._current, self._early, self._late, self._withheld, self.word = {}, {}, {}, WithheldChoices(), None
        self.shape, self.details = None, {}
        if not self._headed:
            self._identity.clear()
        self._responses.take(Reset(""))
        return not has_content

    def settle(self, reason: EndReason) -> list[Frame]:
        """Write what is buffered at the end. The last block of a failed stream is not closed."""
        out: list[Frame] = []
        self._complete(out, cut=reason in _CUT, failed=reason not in (*_CUT, "completed", "tool_calls"))
        return out

    def _take(self, event: Event, out: list[Frame]) -> None:
        match event:
            case TextDelta(text=text):
                self._withheld.add(0, len(text))
                self._text("text", text, out)
            case ReasoningDelta(text=text):
                self._text("reasoning", text, out)
            case RefusalDelta(text=text):
                self._text("refusal", text, out)
            case AudioDelta(transcript=str() as text):
                self._text("text", text, out)
            case ToolCallDelta():
                self._call(event, out)
            case PartStart():
                self._start_part(event, out)
            case PartDelta(part=number):
                if part := self._parts.get(number):
                    part.write(event)
            case PartEnd(number=number, data=data):
                self._end_part(number, data, out)
            case Annotation(annotation=annotation, part=part):
                self._annotate(annotation, part)
            case Finish(finish_reason=word):
                self.word = word
                if (end := meaning(word)) in ("completed", "tool_calls", *_CUT):
                    self._complete(out, cut=end in _CUT, failed=False)
            case Redacted() | Retracted() | Flagged():
                self._withheld.feed(event)
                out += self.decided(event)
            case ResponseStart():
                self._identify(event)
            case ResponseDetails(details=details, shape=shape, index=None):
                self.shape = shape or self.shape
                self.details |= details
            case _:
                pass

    def _identify(self, event: ResponseStart) -> None:
        for name in ("id", "created", "model", "service_tier"):
            if name not in self._identity and (value := getattr(event, name)) is not None:
                self._identity[name] = value

    # Texts

    def _text(self, kind: Kind, text: str, out: list[Frame]) -> None:
        if not text:
            return
        last = self._blocks[-1] if self._blocks else None
        if last is None or last.kind != kind or last.complete:
            last = self._open(Block(kind, part=self._current.get(kind)), out)
        self._add(last, text, out)

    def _open(self, block: Block, out: list[Frame]) -> Block:
        """Append a block. It completes the block before it: a text, or a call whose arguments are whole."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None and last.kind != "item":
            self._followed(last, out)
        if block.part is not None:
            self._places[block.part] = len(self._blocks)
            if start := self._starts.get(block.part):
                block.within, block.word = start.within, start.kind
                if start.within is not None:
                    self._containers.add(start.within)
            block.data = self.data_of(block.part)
        if block.kind == "text":
            # Annotations without a part that arrived before any text belong to the first text.
            block.annotations = self._early.pop(-1 if block.part is None else block.part, [])
            self._last_text = len(self._blocks)
        self._blocks.append(block)
        self._advance(out)
        return block

    def _followed(self, block: Block, out: list[Frame]) -> None:
        if block.kind == "call" and block.ended and block.blank:
            self._add(block, "{}", out)  # its part ended, so it takes no arguments
        block.complete |= block.kind != "call" or block.ended or block.whole

    def _add(self, block: Block, piece: str, out: list[Frame]) -> None:
        block.pieces.append(piece)
        block.blank = block.blank and not piece.strip()
        if block.begun:
            out += self.write(block, piece)
        else:
            self._advance(out)

    # Calls

    def _call(self, event: ToolCallDelta, out: list[Frame]) -> None:
        place = self._calls.get(event.tool_index)
        if place is None:
            if not (event.id or event.name or event.arguments):
                return
            block = Block("call", part=self._call_parts.get(event.tool_index), call=event.tool_index)
            place = self._calls[event.tool_index] = len(self._blocks)
            self._open(block, out)
        block = self._blocks[place]
        if place < self._front:
            self._after_the_end(block, event.arguments)
            return
        block.identity.merge(event)
        if event.arguments:
            block.nesting.feed(event.arguments)
            self._add(block, event.arguments, out)
        if block.whole and place < len(self._blocks) - 1:
            block.complete = True
        self._advance(out)

    def _after_the_end(self, block: Block, arguments: str) -> None:
        # White space changes nothing, and `{}` was already written for a call without arguments.
        if arguments.strip() and not (arguments == "{}" and block.text.strip() == "{}"):
            raise ProtocolError(
                f"tool call {block.call}: expected no more arguments after the call was complete, "
                f"found {len(arguments)} characters"
            )

    # Parts

    def _start_part(self, event: PartStart, out: list[Frame]) -> None:
        self._starts.setdefault(event.number, msgspec.structs.replace(event, payload=None, data={}))
        self._parts.setdefault(event.number, PartData()).add(event.data)
        if event.tool_index is not None:
            self._call_parts[event.tool_index] = event.number
        elif kind := _KINDS.get(event.channel):
            self._current[kind] = event.number
            last = self._blocks[-1] if self._blocks else None
            if last is not None and last.kind == kind and last.part != event.number:
                last.complete = True
                self._advance(out)
        elif event.number not in self._places and self.takes(event):
            self._open(Block("item", part=event.number, word=event.kind), out)

    def _end_part(self, number: int, data: dict[str, Any], out: list[Frame]) -> None:
        part = self._parts.setdefault(number, PartData())
        part.end(data)
        known, place = part.whole, self._places.get(number)
        if place is None:
            start = self._starts.get(number)
            kind = self.hidden(start, known) if start and number not in self._containers else None
            if start is None or kind is None:
                return
            place = len(self._blocks)
            self._open(Block(kind, part=number, word=start.kind), out)
        block = self._blocks[place]
        block.data, block.ended = known, True
        block.complete |= block.kind != "call" or not block.blank
        if block.kind == "call" and block.blank and place < len(self._blocks) - 1:
            self._followed(block, out)
        self._advance(out)

    def _annotate(self, annotation: dict[str, Any], part: int | None) -> None:
        place = self._places.get(part) if part is not None else self._last_text
        if place is not None and place >= self._front:
            self._blocks[place].annotations.append(annotation)
        elif place is None and part is not None:
            self._early.setdefault(part, []).append(annotation)
        elif place is None:
            self._early.setdefault(-1, []).append(annotation)
        else:
            self._late.setdefault(place, []).append(annotation)

    # Writing

    def _complete(self, out: list[Frame], *, cut: bool, failed: bool) -> None:
        pending = self._blocks[self._front :]
        for block in pending:
            last = block is pending[-1]
            if failed and last:
                self._begin_cut(block, out)
                return
            block.cut = cut and (last or (block.kind == "call" and not block.whole))
            if block.kind == "call" and block.blank and not (cut or block.custom):
                self._add(block, "{}", out)
            block.complete = True
            self._advance(out)

    def _begin_cut(self, block: Block, out: list[Frame]) -> None:
        if block.kind != "item" and not block.begun:
            self._write_beginning(block, out)

    def _advance(self, out: list[Frame]) -> None:
        while self._front < len(self._blocks):
            block = self._blocks[self._front]
            if not block.begun:
                if not block.ready:
                    return
                self._write_beginning(block, out)
            if not block.complete:
                return
            out += self.finish(block)
            self._front += 1

    def _write_beginning(self, block: Block, out: list[Frame]) -> None:
        out += self.begin(block)
        block.begun = True
        for piece in block.pieces:
            out += self.write(block, piece)
