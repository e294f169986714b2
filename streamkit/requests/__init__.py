"""Requests of one API in the form of another: chat completions, Messages, Responses and Gemini's."""

from streamkit.requests.losses import Untranslated as Untranslated
from streamkit.requests.translation import Translation as Translation
from streamkit.requests.translation import translate as translate
