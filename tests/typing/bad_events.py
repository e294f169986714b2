"""Events are frozen and their words are few: every line that ends in `# error` is one, in both checkers."""

import streamkit as sk

event = sk.TextDelta("a")
event.text = "b"  # error
_ = sk.StreamEnd("done")  # error
_ = sk.TextDelta()  # error
_ = sk.TextDelta(1)  # error
_ = sk.TextDelta("a", 0, "{}")  # error
_ = sk.Count(1)  # error
_ = sk.Parse(strict="raise")  # error
_ = sk.Extract(errors="ignore")  # error


def reason(end: sk.StreamEnd | None) -> str:
    return end.reason  # error


def text(event: sk.Event) -> str:
    return event.text  # error
