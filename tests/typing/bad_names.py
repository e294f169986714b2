"""A name that does not exist is an error, although the packages import their names when they are first used."""

import streamkit as sk
import streamkit.core
import streamkit.moderation
import streamkit.sse
import streamkit.structured
import streamkit.testing

_ = sk.typo  # error
_ = sk.sources.from_opanai  # error
_ = sk.display.tipo  # error
_ = streamkit.core.Pipelin  # error
_ = streamkit.moderation.Rul  # error
_ = streamkit.sse.Pars  # error
_ = streamkit.structured.PartialJso  # error
_ = streamkit.testing.check_stag  # error
