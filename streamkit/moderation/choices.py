"""The choices of an answer: which of them came, which are over, and how each of them ends."""

from typing import Any, NamedTuple

from streamkit.events import Finish, Logprobs


class Ending(NamedTuple):
    """A choice must not go on: what is said in place of the rest of it, and whether all the others end with it."""

    message: str | None = None
    stop: bool = False


_SETS = ("altered", "cut", "blocked", "finished", "complete")


class Choices:
    """What is known of each choice by its index. `expected` of them were asked for."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.came: dict[int, int] = {}
        """How many deltas of text or calls came; 0 where something else did."""
        self.finishes: dict[int, Finish] = {}
        """Finishes that wait for text that came before them."""
        self.logprobs: list[Logprobs] = []
        self.altered: set[int] = set()
        """Something in them was changed."""
        self.cut: set[int] = set()
        """The rest of a channel was replaced."""
        self.blocked: set[int] = set()
        self.finished: set[int] = set()
        """Their finish has left."""
        self.complete: set[int] = set()
        """Their finish came."""

    @property
    def all_over(self) -> bool:
        """Whether nothing more is to come of any."""
        ended = self.blocked | self.finished | self.finishes.keys()
        return len(ended) >= self.expected and ended >= self.came.keys()

    def unspent(self, max_tokens: int | None) -> int | None:
        """The most tokens that may still have come, of so many for each choice; `None` where that is not known."""
        # A delta holds a token at least.
        if max_tokens is None:
            return None
        came = [came for index, came in self.came.items() if index not in self.complete]
        unseen = max(self.expected - len(self.came), 0)
        return sum(max(max_tokens - count, 0) for count in came) + unseen * max_tokens

    def state(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "finishes": [[finish.index, finish.reason] for finish in self.finishes.values()],
            "logprobs": [[item.index, item.logprobs, item.part] for item in self.logprobs],
            "came": [list(entry) for entry in self.came.items()],
            "sets": {f"_{name}": sorted(getattr(self, name)) for name in _SETS},
        }

    def restore(self, state: Any) -> None:
        """Go on from where other ones were."""
        self.finishes = {index: Finish(reason, index) for index, reason in state["finishes"]}
        self.logprobs = [Logprobs(logprobs, index, part) for index, logprobs, part in state["logprobs"]]
        self.came = dict(state["came"])
        for name in _SETS:
            setattr(self, name, set(state["sets"][f"_{name}"]))
