"""The results of a provider's own content filters, by category, and the action for each.

Azure's `content_filter_results` and `prompt_filter_results`
(https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter), and the `moderation` of OpenAI's chunks, which
holds results of the moderation endpoint for the input and the output, or the error that kept it from them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from streamkit.core.options import NamedOptions
from streamkit.errors import PipelineError
from streamkit.events import ProviderNotice
from streamkit.moderation.classifiers.classifier import Decision

ProviderAction: TypeAlias = Literal["allow", "annotate", "block", "stop"]
_SEVERITIES = ("safe", "low", "medium", "high")
FAILED = "error"
"""The category of a filter that failed."""


@dataclass(frozen=True)
class ProviderRule(NamedOptions):
    """The action to take when the provider's filter reports `category`; `*` is any.

    It counts from `severity` on (Azure: low, medium, high), or from `score` (OpenAI: 0 to 1); with neither, when the provider
    itself reports flagged, filtered or detected. The category `error` is a filter that failed, which `*` includes. The
    provider does not report which words it means, so that there is nothing to redact; `message` is the last text of a choice
    that is blocked. `prompt` includes what is reported about the prompt.
    """

    category: str
    action: ProviderAction = "block"
    """The action on the choice."""
    severity: Literal["low", "medium", "high"] | None = None
    score: float | None = None
    message: str | None = None
    prompt: bool = True

    def __post_init__(self) -> None:
        if self.action not in ("allow", "annotate", "block", "stop"):
            raise PipelineError(
                f"provider rule {self.category!r}: expected allow, annotate, block or stop; found {self.action!r}"
            )
        if self.severity not in (None, *_SEVERITIES[1:]):
            raise PipelineError(
                f"provider rule {self.category!r}: expected the severity low, medium or high; found {self.severity!r}"
            )


class Finding(NamedTuple):
    """One category of one verdict of the provider's."""

    category: str
    flagged: bool
    severity: str | None
    score: float | None
    of_prompt: bool
    span: tuple[int, int] | None = None


def as_provider_rules(rules: "ProviderRule | Iterable[ProviderRule]") -> tuple[ProviderRule, ...]:
    """One rule or many as a tuple. Anything else raises `PipelineError`."""
    found: tuple[Any, ...] = (rules,) if isinstance(rules, ProviderRule) else tuple(rules)
    for rule in found:
        if not isinstance(rule, ProviderRule):
            raise PipelineError(f"expected ProviderRule(…), found an object of type {type(rule).__name__}")
    return found


def decide(rules: tuple[ProviderRule, ...], notice: ProviderNotice) -> Iterator[tuple[Decision, Finding]]:
    """Every finding that a rule is about, with what the first one decides whose category and threshold fit."""
    for finding in findings(notice):
        rule = next((rule for rule in rules if _fits(rule, finding)), None)
        if rule:
            yield Decision(rule.action, finding.category, message=rule.message, severity=finding.severity), finding


def findings(notice: ProviderNotice) -> Iterator[Finding]:
    """Return the results in a notice, by category; empty if it is no filter result or has an unknown form."""
    match notice.kind:
        case "content_filter":
            yield from _azure(notice.data, False, _span(notice))
        case "prompt_filter":
            for prompt in _list(notice.data):
                yield from _azure(_dict(prompt).get("content_filter_results"), True)
        case "moderation":
            for name in ("input", "output"):
                yield from _openai(_dict(notice.data).get(name), name == "input")
        case _:
            pass


def _fits(rule: ProviderRule, finding: Finding) -> bool:
    if rule.category not in ("*", finding.category) or (finding.of_prompt and not rule.prompt):
        return False
    if finding.category == FAILED or (rule.severity is None and rule.score is None):
        return finding.flagged
    severe = rule.severity is not None and _rank(finding.severity) >= _SEVERITIES.index(rule.severity)
    return severe or (rule.score is not None and finding.score is not None and finding.score >= rule.score)


def _rank(severity: str | None) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else 0


def _azure(results: Any, of_prompt: bool, span: tuple[int, int] | None = None) -> Iterator[Finding]:
    for category, found in _dict(results).items():
        result = _dict(found)
        flagged = category == FAILED or result.get("filtered") is True or result.get("detected") is True
        severity = result.get("severity")
        yield Finding(category, flagged, severity if isinstance(severity, str) else None, None, of_prompt, span)


def _span(notice: ProviderNotice) -> tuple[int, int] | None:
    # The asynchronous filter reports which part of the text it has checked, beside its results in the choice.
    if notice.payload is None or b"content_filter_offsets" not in notice.payload:
        return None
    for choice in map(_dict, _list(_dict(notice.raw).get("choices"))):
        if choice.get("index", 0) == notice.index:
            offsets = _dict(choice.get("content_filter_offsets"))
            start, end = offsets.get("start_offset"), offsets.get("end_offset")
            return (start, end) if isinstance(start, int) and isinstance(end, int) else None
    return None


def _openai(side: Any, of_prompt: bool) -> Iterator[Finding]:
    if _dict(side).get("type") == "error":
        yield Finding(FAILED, True, None, None, of_prompt)
    for result in map(_dict, _list(_dict(side).get("results"))):
        scores = _dict(result.get("category_scores"))
        for category, flagged in _dict(result.get("categories")).items():
            score = scores.get(category)
            yield Finding(category, flagged is True, None, score if isinstance(score, int | float) else None, of_prompt)


def _dict(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []
