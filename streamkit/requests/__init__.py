"""Translate requests between APIs: chat completions, Messages, Responses and Gemini's generateContent."""

from streamkit.requests.losses import Untranslated as Untranslated
from streamkit.requests.translation import Translation as Translation
from streamkit.requests.translation import translate as translate
