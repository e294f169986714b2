"""Track the choices of which moderation withheld text."""

import msgspec

from streamkit.events import Blocked, Event, Redacted, Retracted, TextDelta


class WithheldChoices(msgspec.Struct):
    """The choices of which moderation withheld text, so that nothing else, such as a citation, may quote it.

    `Moderate(mode="observe")` emits the same verdicts, but after the text that they apply to; such text is not withheld.
    """

    choices: set[int] = set()
    lengths: dict[int, int] = {}

    def add(self, index: int, length: int) -> None:
        """Record how many characters of a choice's text were released."""
        self.lengths[index] = self.lengths.get(index, 0) + length

    def feed(self, event: Event) -> None:
        """Process the next event."""
        match event:
            case TextDelta(text=text, index=index):
                self.add(index, len(text))
            case Redacted(index=index) | Blocked(index=index):
                released = event.channel == "content" and event.start < event.end <= self.lengths.get(index, 0)
                if not released:
                    self.choices.add(index)
            case Retracted(index=index):
                self.choices.add(index)
            case _:
                pass
