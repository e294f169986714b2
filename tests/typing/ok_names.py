"""The names that are imported at their first use have their types."""

from typing import assert_type

import streamkit as sk
import streamkit.structured
import streamkit.testing

assert_type(sk.Parse(), sk.Parse)
assert_type(sk.http.post("http://host/"), sk.sources.http.Http)
assert_type(sk.display.Comparison(()), sk.display.Comparison)
assert_type(sk.moderation.Rule("x", phrases=("y",)), sk.Rule)
assert_type(sk.sse.Comment("x"), sk.sse.Comment)
assert_type(sk.ws.connect("ws://host/"), sk.ws.WebSocketSource)
assert_type(streamkit.structured.PartialJson(), streamkit.structured.PartialJson)
assert_type(streamkit.testing.VirtualClock(), streamkit.testing.VirtualClock)
