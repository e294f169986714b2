"""The configuration that rules and classifiers share: modes and limits."""

from typing import Literal, NamedTuple, get_args

from streamkit.core.wrong_input import shown
from streamkit.errors import PipelineError
from streamkit.moderation.channels import Mode

MAX_HOLD_CHARS = 1 << 20


class Policy(NamedTuple):
    """How a stream is moderated. `ordered`: text keeps its order over channels, not only within each."""

    mode: Mode
    ordered: bool
    choices: int
    max_hold_chars: int | None
    max_hold_seconds: float | None
    on_max_hold: Literal["block", "release"]
    max_tokens: int | None
    reports: bool

    @property
    def limit(self) -> int | None:
        """How many characters of one text may be buffered; `None` where none are."""
        return self.max_hold_chars if self.mode == "hold" else None


def checked(policy: Policy) -> Policy:
    """The policy. `PipelineError` for a value that makes no sense."""
    for name, known in (("mode", get_args(Mode)), ("on_max_hold", ("block", "release"))):
        if (found := getattr(policy, name)) not in known:
            raise PipelineError(f"expected {name} of {', '.join(known)}; found {shown(found)}")
    for name in ("max_hold_chars", "max_hold_seconds"):
        if (bound := getattr(policy, name)) is not None and bound <= 0:
            raise PipelineError(f"expected a {name} above zero, or None; found {shown(bound)}")
    return policy
