"""OpenAI's Responses API: its events, and its non-streaming response."""

from streamkit.dialects.responses.reader import OpenAIResponses as OpenAIResponses
