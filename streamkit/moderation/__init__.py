"""Guardrails on output: rules and classifiers that hold text back until it is decided."""

from typing import TYPE_CHECKING, Final

from streamkit.core.lazy import lazily

if TYPE_CHECKING:
    from streamkit.moderation import rule_file as rule_file
    from streamkit.moderation.classifiers import remote as remote
    from streamkit.moderation.classifiers.chunking import Window as Window
    from streamkit.moderation.classifiers.chunking import Windows as Windows
    from streamkit.moderation.classifiers.classifier import Decision as Decision
    from streamkit.moderation.classifiers.classifier import Failures as Failures
    from streamkit.moderation.classifiers.classifier import verdict_of as verdict_of
    from streamkit.moderation.classifiers.provider_filters import ProviderRule as ProviderRule
    from streamkit.moderation.rule import Rule as Rule

__all__ = ["Decision", "Failures", "ProviderRule", "Rule", "Window", "Windows", "remote", "rule_file", "verdict_of"]

_WHERE: Final = {
    "Decision": "streamkit.moderation.classifiers.classifier:Decision",
    "Failures": "streamkit.moderation.classifiers.classifier:Failures",
    "ProviderRule": "streamkit.moderation.classifiers.provider_filters:ProviderRule",
    "Rule": "streamkit.moderation.rule:Rule",
    "Window": "streamkit.moderation.classifiers.chunking:Window",
    "Windows": "streamkit.moderation.classifiers.chunking:Windows",
    "remote": "streamkit.moderation.classifiers.remote",
    "rule_file": "streamkit.moderation.rule_file",
    "verdict_of": "streamkit.moderation.classifiers.classifier:verdict_of",
}
# Not for type checkers, which would accept any name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazily(__name__, _WHERE)
