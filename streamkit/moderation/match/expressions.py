"""Regular expressions, compiled so that a search also finds where they are undecided.

`P.search(text, partial=True)` returns a partial match where P looks beyond the end of the text, so that more text may make,
change or undo a match there; `(?>P)(?!)` never matches fully, and returns the first such place of all. Where P matches before
it looks beyond the end, as a lazy repetition does, that match is decided: an atomic group tries no other way after the first
that matches. (After a match of nothing, `regex` tries the other ways at the same place; where P may match nothing, the group is
not atomic.) `syntax` inserts looks where that is not enough. Whether it did so everywhere, and changed nothing else, is
verified with `regex`'s own parser, which is not public: an expression whose trees don't confirm it is refused.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import inf, prod
from typing import Any, NamedTuple, TypeAlias

import regex
from regex import _regex_core

from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError
from streamkit.moderation.match.normalize import fold
from streamkit.moderation.match.syntax import undecidable, with_lookaheads

MOST_CHARACTERS = 1_000
"""How long the source of an expression may be."""
MOST_WRITTEN_OUT = 10_000
"""How long it may be with its repetitions written out."""
MOST_BEHIND = 10_000
"""How many characters an expression may look behind."""
MOST_STEPS = 100_000
"""A search of no more steps than that, less than a millisecond, needs no time limit."""
_ALPHABET = regex.ASCII | regex.UNICODE | regex.LOCALE
_core: Any = _regex_core
Guard: TypeAlias = Callable[[str], Any]


class Prefix(NamedTuple):
    """A text that matches begin with, folded as `fold_text` does. `guards` say of the character before it whether none can."""

    text: str
    guards: tuple[Guard, ...]


@dataclass(frozen=True)
class Expression:
    """One expression: `pattern` as it was written, `probe` with the look-aheads, `undecided` the same without a full match."""

    pattern: Any
    probe: Any
    undecided: Any
    behind: int
    """How many characters before the undecided text a search can see."""
    ahead: int
    """How many characters from its beginning on a match can depend on."""
    prefixes: tuple[Prefix, ...]
    """Literals of which every match begins with one; empty if unknown or too many."""
    safe: int
    """How many characters can be searched without a time limit."""


@lru_cache(maxsize=16_384)
def compiled(source: str, ignore_case: bool) -> Expression:
    """The expression. One that is wrong raises `PipelineError`, and so does one whose matches are not decided by the text that
    has arrived, or that can't be verified."""
    if len(source) > MOST_CHARACTERS:
        raise PipelineError(
            f"pattern {shown(source)}: expected at most {MOST_CHARACTERS:,} characters, found {len(source):,}"
        )
    if never := undecidable(source):
        raise PipelineError(f"pattern {shown(source)}: {never!r} can't be decided while text is still arriving")
    flags = regex.IGNORECASE if ignore_case else 0
    try:
        return _compiled(source, flags)
    except regex.error as error:
        raise PipelineError(f"pattern {shown(source)}: {error}") from error
    except RecursionError:
        raise PipelineError(f"pattern {shown(source)}: it is nested too deeply") from None


def _compiled(source: str, flags: int) -> Expression:
    try:
        tree, names = _parsed(source, flags)
        _check_size(source, tree)
        pattern = _regex(source, flags)
        atomic = _consumes(tree)
        rewritten, never = _rewritten(source, flags, pattern.flags, atomic=atomic)
        _verify(source, tree, _parsed(rewritten, flags)[0], _parsed(never, pattern.flags)[0], atomic=atomic)
        _check_calls(source, tree, names)
        behind = _behind(source, tree)
        prefixes, safe = _prefixes(tree), _safe(tree)
    # The parser is not public; of another version it may be called or look otherwise.
    except (AttributeError, TypeError, ValueError) as error:
        raise PipelineError(f"pattern {shown(source)}: regex {regex.__version__} can't verify it: {error}") from error
    # Flags within an expression are those of all of it, which is not so where it is a part of one.
    probe, undecided = _regex(rewritten, flags), _regex(never, pattern.flags)
    if probe.flags != pattern.flags or (undecided.flags ^ pattern.flags) & _ALPHABET:
        raise _unverified(source)
    return Expression(pattern, probe, undecided, behind, _ahead(tree), prefixes, safe)


def _regex(source: str, flags: int) -> Any:
    # In the package's own cache there would be three of each expression, and all of them are in that of `compiled`.
    return regex.compile(source, flags, cache_pattern=False)


def _rewritten(source: str, flags: int, used: int, *, atomic: bool) -> tuple[str, str]:
    # With the looks, and that without a full match. `used` are the flags with those that are in the source.
    if used & regex.FULLCASE and used & regex.IGNORECASE:
        raise PipelineError(f"pattern {shown(source)}: full case folding can't be decided while text is still arriving")
    rewritten = with_lookaheads(source, version1=bool(used & regex.VERSION1), verbose=bool(flags & regex.VERBOSE))
    end = "\n" if used & regex.VERBOSE else ""  # of a comment that may be in the last line
    ways = f"(?:{rewritten}{end})"
    return rewritten, f"(?>{ways})(?!)" if atomic else f"{ways}(?!)"


# The parser of `regex`


def _parsed(source: str, flags: int) -> tuple[Any, dict[str, int]]:
    """The tree of an expression, as `regex.compile` parses it, and the numbers of the groups that have a name."""
    while True:
        text = _core.Source(source)
        info = _core.Info(flags, text.char_type, {})
        info.guess_encoding = _core.UNICODE
        text.ignore_space = bool(info.flags & _core.VERBOSE)
        try:
            parsed = _core._parse_pattern(text, info)
        except _core._UnscopedFlagSet:
            flags = info.global_flags
        else:
            if not text.at_end():
                raise regex.error("unbalanced parenthesis", source, text.pos)
            return parsed, info.group_index


_LISTS: Any = (list, tuple)


def _is_node(value: Any) -> bool:
    return isinstance(value, _core.RegexBase)


def _fields(node: object) -> dict[str, Any]:
    return vars(node)


def _children(node: Any) -> Iterator[Any]:
    for name, value in _fields(node).items():
        found: list[Any] = [*value] if isinstance(value, _LISTS) else [value]
        if name not in _NOT_COMPARED:
            yield from filter(_is_node, found)


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in _children(node):
        yield from _nodes(child)


# Verification

_NOT_COMPARED = {"info", "position", "_key"}
"""Attributes that differ between two trees of the same expression: positions in the source, and objects shared by all nodes."""
_BEFORE = (
    "Boundary",
    "DefaultBoundary",
    "StartOfWord",
    "DefaultStartOfWord",
    "EndOfWord",
    "DefaultEndOfWord",
    "EndOfString",
)
_LINE_END = ("EndOfLine", "EndOfLineU", "EndOfStringLine", "EndOfStringLineU")
_REFUSED = ("Fuzzy", "Grapheme", "Keep", "SearchAnchor", "Prune", "Skip")
_ONE = ("Character", "Any", "AnyAll", "AnyU", "Property", "Range", "SetUnion", "SetDiff", "SetInter", "SetSymDiff")
_REPEATS = ("GreedyRepeat", "LazyRepeat", "PossessiveRepeat")


def _verify(source: str, tree: Any, rewritten: Any, never: Any, *, atomic: bool) -> None:
    """Raise unless the trees are the same but for looks and what never matches, and there is a look wherever one is needed."""
    if any(_kind(node) in _REFUSED for node in _nodes(tree)):
        raise PipelineError(f"pattern {shown(source)}: it can't be decided while text is still arriving")
    ways, nothing = never.items
    if atomic:
        if _kind(ways) != "Atomic":
            raise _unverified(source)
        (ways,) = ways.subpattern.items
    same = _same(tree, rewritten) and _same(rewritten, ways) and _never(nothing)
    if not same or not _asks(rewritten):
        raise _unverified(source)


def _unverified(source: str) -> PipelineError:
    return PipelineError(
        f"pattern {shown(source)}: it can't be verified that its matches don't depend on how text is split"
    )


def _consumes(node: Any) -> bool:
    """Whether every match of a node certainly has a character."""
    match _kind(node):
        case "Sequence":
            return any(map(_consumes, node.items))
        case "Branch":
            return all(map(_consumes, node.branches))
        case "Group" | "Atomic":
            return _consumes(node.subpattern)
        case "GreedyRepeat" | "LazyRepeat" | "PossessiveRepeat":
            return node.min_count > 0 and _consumes(node.subpattern)
        case kind:
            return kind in _ONE and not getattr(node, "zerowidth", False)


def _never(node: Any) -> bool:
    return _kind(node) == "Failure" or (not (node.behind or node.positive) and node.subpattern.items == [])


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, _LISTS):
        ours, theirs = _without_looks(one), _without_looks(other)
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if not _is_node(one):
        return bool(one == other)
    fields, others = _fields(one), _fields(other)
    return fields.keys() == others.keys() and all(
        name in _NOT_COMPARED or _same(value, others[name]) for name, value in fields.items()
    )


def _without_looks(items: Iterable[Any]) -> list[Any]:
    return [item for item in items if not _look(item)]


def _asks(node: Any, before: Any = None, after: Any = None, *, behind: bool = False) -> bool:
    """Whether all that needs a look has one beside it. Of what is in no sequence, nothing is beside it."""
    if not _has_its_look(node, before, after, behind):
        return False
    if _kind(node) == "Sequence":
        items = node.items
        beside = zip(items, [None, *items], [*items[1:], None], strict=False)
        return all(_asks(item, before, after, behind=behind) for item, before, after in beside)
    if _kind(node) == "LookAroundConditional" and not _asks(node.subpattern, behind=node.behind):
        return False
    behind = node.behind if _kind(node) == "LookAround" else behind
    return all(_asks(child, behind=behind) for child in _children(node))


def _has_its_look(node: Any, before: Any, after: Any, behind: bool) -> bool:
    # A look-behind is matched from its end, and what it repeats depends on text that is there.
    kind, looked = _kind(node), after if behind else before
    if kind in _BEFORE:
        return _look(looked) > 0
    if kind in _LINE_END:
        return _look(looked) > 1
    varies = kind in _REPEATS and node.min_count != node.max_count and _kind(node.subpattern) not in _ONE
    return behind or not varies or _look(after) > 0


def _look(node: Any) -> int:
    """At how many characters a look-ahead of `syntax` looks; 0 for anything else."""
    if _kind(node) != "LookAround" or node.behind or not node.positive or _kind(node.subpattern) != "Branch":
        return 0
    seen, *nothing = (getattr(branch, "items", None) for branch in node.subpattern.branches)
    if nothing != [[]] or not seen or _kind(seen[-1]) not in _ONE:
        return 0
    return len(seen) if len(seen) == 1 or (len(seen) == 2 and _kind(seen[0]) == "GreedyRepeat") else 0


def _check_size(source: str, tree: Any) -> None:
    """Raise for repetitions that are too large written out, as `regex` does when it compiles them: at a billion that takes all
    memory."""
    if (size := _written_out(tree)) > MOST_WRITTEN_OUT:
        raise PipelineError(
            f"pattern {shown(source)}: expected at most {MOST_WRITTEN_OUT:,} characters with its repetitions written out, "
            f"found {size:,}"
        )


def _written_out(node: Any) -> int:
    size = 1 if _kind(node) in _ONE else max(sum(map(_written_out, _children(node))), 1)
    return size * max(node.min_count, 1) if _kind(node) in _REPEATS else size


def _check_calls(source: str, tree: Any, names: dict[str, int]) -> None:
    """Raise for a group that calls itself: such a search takes all memory before it takes too long."""
    groups = {node.group: node for node in _nodes(tree) if _kind(node) == "Group"}
    calls = {number: {_number(call, names) for call in _calls(node)} for number, node in groups.items()}
    called = {_number(call, names) for call in _calls(tree)}
    for _ in groups:
        called = {number for group in called for number in calls.get(group, ())}
    if called:
        raise PipelineError(
            f"pattern {shown(source)}: a group within itself can't be decided while text is still arriving"
        )


def _calls(node: Any) -> Iterator[Any]:
    return (found for found in _nodes(node) if _kind(found) == "CallGroup")


def _number(call: Any, names: dict[str, int]) -> int:
    return names[call.group] if call.group in names else int(call.group)


def _kind(node: Any) -> str:
    return type(node).__name__


def _behind(source: str, tree: Any) -> int:
    # A character for `\b` and the like, and one more, so that `^` does not match where the text was cut.
    behind = 2
    for node in _nodes(tree):
        if getattr(node, "behind", False):
            behind += int(node.subpattern.max_width())
    if behind > MOST_BEHIND:
        limit = f"expected a look-behind of at most {MOST_BEHIND:,} characters"
        found = "one without a bound" if behind >= _core.UNLIMITED else f"{behind - 2:,}"
        raise PipelineError(f"pattern {shown(source)}: {limit}, found {found}")
    return behind


def _ahead(tree: Any) -> int:
    # Two characters more for `$`, which looks at a line feed and what follows it.
    looks = (node for node in _nodes(tree) if not getattr(node, "behind", True))
    return int(tree.max_width() + sum(node.subpattern.max_width() for node in looks) + 2)


# What every match begins with

_LONGEST_PREFIX, _MOST_PREFIXES, _MOST_MEMBERS = 24, 64, 16
_TURKIC_AND_OTHERS = {0x130: "i", 0x131: "i", 0x17F: "s", 0x212A: "k"}
"""Characters outside ASCII that match an ASCII letter where case is ignored."""
Beginnings = list[Prefix]


def fold_text(text: str) -> str:
    """Folded so that what `regex` takes for equal, with or without case, is equal; other characters may be too."""
    return text.lower() if text.isascii() else fold(text.translate(_TURKIC_AND_OTHERS))


def _prefixes(tree: Any) -> tuple[Prefix, ...]:
    found = [_guarded(prefix) for prefix in _begins(tree)[0]]
    return tuple(found) if all(len(prefix.text) > 1 for prefix in found) else ()


def _guarded(prefix: Prefix) -> Prefix:
    # `\b` before what is no letter needs a letter before it.
    first = prefix.text[:1]
    return Prefix(prefix.text, tuple(guard for guard in prefix.guards if guard not in _WORD.values() or guard(first)))


def _begins(node: Any) -> tuple[Beginnings, bool]:
    """Return the literals that matches of a node begin with, and whether they are whole matches; an empty text if unknown."""
    match _kind(node):
        case "Sequence":
            return _begins_sequence(node.items)
        case "Branch":
            each = [_begins(branch) for branch in node.branches]
            return [prefix for found, _ in each for prefix in found], all(whole for _, whole in each)
        case "Group" | "Atomic":
            return _begins(node.subpattern)
        case "GreedyRepeat" | "LazyRepeat" | "PossessiveRepeat" if node.min_count:
            found, whole = _begins_sequence([node.subpattern] * min(node.min_count, _LONGEST_PREFIX))
            return found, whole and node.max_count == node.min_count
        case "Boundary" if node.positive:
            return [Prefix("", (_WORD[node.encoding],))], True
        case "StartOfWord":
            return [Prefix("", (_WORD[node.encoding],))], True
        case "LookAround" if node.behind and not node.positive and (guard := _guard(node.subpattern)):
            return [Prefix("", (guard,))], True
        case _:
            members = _members(node)
            return ([Prefix(member, ()) for member in members], True) if members else (_UNKNOWN, False)


_UNKNOWN: Beginnings = [Prefix("", ())]
_WORD: dict[int, Guard] = {
    encoding: regex.compile(r"\w", flags).match
    for encoding, flags in ((0, 0), (_core.ASCII_ENCODING, regex.ASCII), (_core.UNICODE_ENCODING, regex.UNICODE))
}


def _begins_sequence(items: list[Any]) -> tuple[Beginnings, bool]:
    found = _UNKNOWN
    for item in items:
        more, whole = _begins(item)
        if len(found) * len(more) > _MOST_PREFIXES:
            return found, False
        # What guards the middle of a text is left to the search.
        found = [
            Prefix(one.text + two.text, one.guards if one.text else (*one.guards, *two.guards))
            for one, two in product(found, more)
        ]
        if not whole or len(found[0].text) >= _LONGEST_PREFIX:
            return found, False
    return found, True


def _members(node: Any) -> list[str]:
    """The characters that a node of one character matches, folded; none for another node, or if they are too many."""
    match _kind(node):
        case "Character":
            points = [node.value]
        case "Range":
            points = list(range(node.lower, min(node.upper, node.lower + _MOST_MEMBERS) + 1))
        case "SetUnion":
            points = [point for item in node.items for point in map(ord, _members(item)) or [-1]]
            if not all(map(_members, node.items)):
                return []
        case _:
            return []
    if not node.positive or len(points) > _MOST_MEMBERS or not all(map(_folds, points)):
        return []
    return sorted({fold_text(chr(point)) for point in points})


def _folds(point: int) -> bool:
    # Of other letters, `regex` may take more for equal than `fold_text` does.
    character = chr(point)
    return point < 128 or character.lower() == character.upper() == character


def _guard(node: Any) -> Guard | None:
    items = getattr(node, "items", [])
    one = items[0] if _kind(node) == "Sequence" and len(items) == 1 else node
    if _kind(one) not in ("Character", "Property", "Range", "SetUnion") or (one.case_flags and not one.positive):
        return None
    matches = one.matches
    matches(0)  # of another version of `regex` it may fail, and must not while a stream runs
    return lambda character: bool(character) and bool(matches(ord(character)))


# How long a search may take


def _safe(tree: Any) -> int:
    # At each place it reads what there is, or what it is wide, and then tries each way to end.
    (ways, degree), width = _ways(tree), _ahead(tree)
    lengths = [8 << power for power in range(11)]
    steps = ((length, length * (min(length, width) + ways * length**degree)) for length in lengths)
    return max((length for length, taken in steps if taken <= MOST_STEPS), default=0)


def _ways(node: Any) -> tuple[float, int]:
    """In how many ways a node can match at one place, at most: the first times the length of the text to the second."""
    match _kind(node):
        case "Branch" | "Conditional" | "LookAroundConditional":
            each = [_ways(child) for child in _children(node)]
            return sum(ways for ways, _ in each), max(degree for _, degree in each)
        case "CallGroup":
            return inf, 0
        case "Sequence":
            each = [_ways_before(item, after) for item, after in zip(node.items, [*node.items[1:], None], strict=False)]
            return prod(ways for ways, _ in each), sum(degree for _, degree in each)
        case "GreedyRepeat" | "LazyRepeat" | "PossessiveRepeat":
            return _ways_to_repeat(node, *_ways(node.subpattern))
        case kind if kind in _ONE:
            return 1, 0
        case _:
            each = [_ways(child) for child in _children(node)]
            return prod(ways for ways, _ in each), sum(degree for _, degree in each)


def _ways_before(node: Any, after: Any) -> tuple[float, int]:
    # Characters that are followed by one that is none of them end where it is.
    if _kind(node) in _REPEATS and (ends := _members(after)) and hasattr(one := node.subpattern, "matches"):
        variants = {ord(form) for end in ends for form in (end, end.upper()) if len(form) == 1}
        if not any(map(one.matches, variants)):
            return 1, 0
    return _ways(node)


def _ways_to_repeat(node: Any, ways: float, degree: int) -> tuple[float, int]:
    least, most = node.min_count, node.max_count
    if (ways, degree) == (1, 0):
        return (1, 1) if most is None else (most - least + 1, 0)
    if most is None or (degree and most > 1) or most > 64:
        return inf, 0
    return (most - least + 1) * ways**most, degree
