"""OpenAI's chat completions and legacy completions: chunks to events, and the non-streaming response."""

from streamkit.dialects.openai.reader import OpenAICompletions as OpenAICompletions
from streamkit.dialects.openai.response import chat_completion as chat_completion
