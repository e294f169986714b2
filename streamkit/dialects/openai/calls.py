"""Assign the tool-call deltas of OpenAI's wire format to the calls of one choice.

https://platform.openai.com/docs/guides/function-calling#streaming. Compatible servers number all calls 0 or none of them, send a
name in pieces or with every chunk, send an empty object before the actual arguments, and leave out the arguments of a call that
takes none.
"""

from typing import Any

import msgspec

from streamkit.dialects.emitted_text import EmittedText, is_json
from streamkit.dialects.tool_identity import Identity
from streamkit.events import Event, ToolCallDelta

EMPTY = "{}"
_WITH_JSON = (None, "function", "function_call", "builtin_function")
"""Types of calls whose arguments are a JSON object; other types take free text."""
# Calls that the client must run. Zhipu also reports calls of its own tools, such as `web_search`, with their results; Moonshot
# runs its built-in functions after the client has sent their arguments back.
_OF_CLIENT = (*_WITH_JSON, "custom")


class BareCalls(msgspec.Struct):
    """Calls that have no arguments yet, by choice and number; for dialects whose call numbers are reliable."""

    calls: dict[int, dict[int, None]] = {}

    def begin(self, number: int, index: int = 0) -> None:
        """Record the start of a call."""
        self.calls.setdefault(index, {})[number] = None

    def got_arguments(self, number: int, index: int = 0) -> None:
        """Record that a call has arguments."""
        if known := self.calls.get(index):
            known.pop(number, None)

    def end(self, number: int, payload: bytes | None, out: list[Event], index: int = 0) -> None:
        """End a call; emit `{}` as its arguments if it has none."""
        if number in (known := self.calls.get(index, {})):
            del known[number]
            out.append(ToolCallDelta(number, arguments=EMPTY, index=index, payload=payload))

    def end_all(self, payload: bytes | None, out: list[Event], index: int = 0) -> None:
        """End all calls of a choice."""
        for number in list(self.calls.get(index, ())):
            self.end(number, payload, out, index)


class Call(msgspec.Struct):
    """One call. `held`: `{}` was received first and is buffered, as it is either the whole arguments or a placeholder."""

    identity: Identity = msgspec.field(default_factory=Identity)
    arguments: EmittedText = msgspec.field(default_factory=EmittedText)
    held: bool = False
    # The length of the first piece if that was a whole JSON document, else 0.
    document: int = 0

    @property
    def is_bare(self) -> bool:
        """Whether it has no arguments, so that `{}` has to be emitted at its end."""
        known = self.identity
        return self.arguments.is_empty and not self.held and known.type in _WITH_JSON and known.is_known

    @property
    def is_whole(self) -> bool:
        """Whether all of its arguments were received in one piece."""
        return self.held or (self.document > 0 and self.arguments.total == self.document)


class Calls(msgspec.Struct):
    """All calls of one choice."""

    known: dict[int, Call] = {}
    ids: dict[str, int] = {}
    # The call that an index of the wire currently refers to, if several calls share one index.
    indexes: dict[int, int] = {}
    last: int = 0
    top: int = -1
    # Whether each chunk has the whole name and arguments so far.
    cumulative: bool = False
    # Calls that changed since the last `settle`, or that may still need their empty object.
    unsettled: dict[int, None] = {}
    are_of_client: bool = False
    """Whether the client must run any of the settled calls."""

    def piece(
        self, delta: ToolCallDelta, wire_index: int | None, *, whole: bool = False, open: bool = True
    ) -> ToolCallDelta:
        """Return the delta with the number of its call; its `tool_index` on input is its position in the chunk.

        `whole`: no further delta of this call follows. `open`: the choice has not ended, so that another call may begin.
        """
        number = self.last = self._number(delta, wire_index, open)
        self.top = max(self.top, number)
        call = self.known.get(number)
        if call is None:
            call = self.known[number] = Call()
        self.unsettled[number] = None
        changes: dict[str, Any] = {"tool_index": number}
        if delta.arguments or call.held:
            changes["arguments"] = self._arguments(call, delta, whole)
        if delta.id or delta.name or delta.type:
            changes |= self._identify(call, number, delta)
        return msgspec.structs.replace(delta, **changes)

    def rest(self, delta: ToolCallDelta) -> tuple[ToolCallDelta | None, bool]:
        """Return the part of a whole call that its deltas did not have, and whether it contradicts them.

        A call is found by its id, or else by its position.
        """
        number = self.ids.get(delta.id or "", delta.tool_index)
        call = self.known.get(number)
        if call is None or (delta.id and call.identity.id and call.identity.id != delta.id):
            return self.piece(delta, self.top + 1, whole=True), False
        self.unsettled[number] = None
        new, differs = self._missing(call, number, delta)
        rest = call.arguments.rest("" if call.held and delta.arguments == EMPTY else delta.arguments)
        if rest:
            # The empty object received before was a placeholder.
            call.held = False
            call.arguments.add(rest)
        if not (rest or new):
            return None, differs or rest is None
        found = ToolCallDelta(number, arguments=rest or "", index=delta.index, payload=delta.payload)
        return msgspec.structs.replace(found, **new), differs or rest is None

    def settle(self, index: int, payload: bytes | None, out: list[Event], *, complete: bool) -> None:
        """Emit what is buffered. If the calls are complete, also emit `{}` for those without arguments."""
        for number in list(self.unsettled):
            call = self.known[number]
            self.are_of_client |= call.identity.is_known and call.identity.type in _OF_CLIENT
            if call.held or (complete and call.is_bare):
                call.held = False
                call.arguments.add(EMPTY)
                kind = "function_call" if call.identity.type == "function_call" else None
                out.append(ToolCallDelta(number, arguments=EMPTY, index=index, type=kind, payload=payload))
            if not call.is_bare:
                del self.unsettled[number]

    def _number(self, delta: ToolCallDelta, wire_index: int | None, open: bool) -> int:
        if wire_index is None:
            return self._unnumbered(delta, delta.tool_index)
        number = self.indexes.get(wire_index, wire_index)
        # Ollama and Mistral number all calls 0. Another id together with a name is another call: some servers give each piece
        # of one call its own id, but only the first a name. Pieces after the end of a choice, as in recordings of several
        # responses, are joined by their numbers, as the official client does.
        if open and delta.name and (call := self.known.get(number)) and self._is_another(call, delta):
            number = self.indexes[wire_index] = self.ids.get(delta.id or "", self.top + 1)
        return number

    def _unnumbered(self, delta: ToolCallDelta, position: int) -> int:
        # Without an index (Mistral, non-streaming responses) another id is another call; without an id the last call continues.
        if delta.id:
            return self.ids.get(delta.id, self.top + 1 if self.ids else position)
        number = max(self.last, position)
        call = self.known.get(number)
        return self.top + 1 if call and delta.name and self._is_another(call, delta) else number

    def _identify(self, call: Call, number: int, delta: ToolCallDelta) -> dict[str, Any]:
        known, changes = call.identity, dict[str, Any]()
        again = self.cumulative or (delta.id and delta.id == known.id)
        if again and delta.name and known.name and delta.name != known.name:
            # The id is repeated and the name differs: it is the whole name so far, or its next piece.
            grown = delta.name.startswith(known.name)
            changes = {"id": None, "name": delta.name[len(known.name) :] if grown else delta.name}
        known.merge(msgspec.structs.replace(delta, **changes) if changes else delta)
        if known.id:
            self.ids[known.id] = number
        return changes

    def _is_another(self, call: Call, delta: ToolCallDelta) -> bool:
        known = call.identity
        if delta.id:
            return bool(known.id) and known.id != delta.id
        # Some servers send no ids and each call whole: another name, or new arguments after a whole document, is another call.
        begins = known.name != delta.name or delta.arguments.lstrip().startswith("{")
        return bool(known.name) and begins and call.is_whole and not self.cumulative

    def _missing(self, call: Call, number: int, delta: ToolCallDelta) -> tuple[dict[str, str], bool]:
        # The whole id, name and type of the call: each may complete the known value or contradict it.
        new, differs = dict[str, str](), False
        for field in ("id", "name", "type"):
            known, received = getattr(call.identity, field) or "", getattr(delta, field) or ""
            if received.startswith(known) and received != known:
                new[field] = received[len(known) :]
                setattr(call.identity, field, received)
            differs |= not received.startswith(known) and bool(received)
        if call.identity.id:
            self.ids[call.identity.id] = number
        return new, differs

    def _arguments(self, call: Call, delta: ToolCallDelta, whole: bool) -> str:
        piece = delta.arguments
        if call.held:
            if not piece:
                return ""
            call.held = False
            if not piece.lstrip().startswith("{"):
                piece = EMPTY + piece
        # Bedrock and its proxies begin every call with an empty object. It is the arguments only if nothing follows.
        elif piece == EMPTY and not whole and call.arguments.is_empty and _begins(call, delta):
            call.held = True
            return ""
        elif not self.cumulative and _is_repeated(call, delta):
            return ""
        if call.arguments.is_empty and piece[0] == "{" and piece[-1] == "}" and is_json(piece):
            call.document = len(piece)
        call.arguments.add(piece)
        return piece


def _begins(call: Call, delta: ToolCallDelta) -> bool:
    return bool(delta.name) and (delta.type or call.identity.type) in _WITH_JSON


def _is_repeated(call: Call, delta: ToolCallDelta) -> bool:
    # The whole call again: the same id, name and complete arguments.
    known, piece = call.identity, delta.arguments
    same = bool(delta.id and delta.name) and (delta.id, delta.name) == (known.id, known.name)
    return same and piece[-1:] == "}" and call.arguments.equals(piece) and is_json(piece)
