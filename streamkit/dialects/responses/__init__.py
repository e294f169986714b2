"""OpenAI's Responses API: events, and the response without streaming."""

from streamkit.dialects.responses.reader import OpenAIResponses as OpenAIResponses
