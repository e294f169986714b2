"""OpenAI's completions, chat and legacy: chunks into events, and the response without streaming."""

from streamkit.dialects.openai.reader import OpenAICompletions as OpenAICompletions
from streamkit.dialects.openai.response import chat_completion as chat_completion
