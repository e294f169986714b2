"""Convert an answer and the results of its tool calls into messages that continue the conversation, in four request formats.

For the provider of the answer the messages have everything it needs to verify the answer, such as ids and signatures of
reasoning; for others only text and calls. https://platform.openai.com/docs/guides/function-calling, …/guides/reasoning,
https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use,
https://ai.google.dev/gemini-api/docs/function-calling and …/thought-signatures.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from streamkit.completion import MessageForm, ToolResult, register_message_form
from streamkit.dialects import anthropic, gemini
from streamkit.dialects.fields import arguments_of, mapping
from streamkit.dialects.openai.response import call_id, chat_completion
from streamkit.dialects.responses.response import response as whole_response
from streamkit.events import Choice, Completion, ToolCall

Message = dict[str, Any]
_CHAT_FIELDS = ("role", "content", "refusal", "tool_calls", "function_call")
_RESENT = ("reasoning_content", "reasoning", "reasoning_details")
"""Reasoning fields that some providers with OpenAI's format require back together with its calls (DeepSeek, OpenRouter)."""


def as_text(content: Any) -> str:
    """Return a tool's result as text: a string unchanged, anything else as JSON."""
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()


def id_of(completion: Completion, choice: Choice, call: ToolCall) -> str:
    """Return the call's id, or if the provider gave none, a generated id that is stable for the same call."""
    response = (completion.id, completion.created, completion.model)
    return call.id or call_id(response, choice.index, call.index, call.name)


def _is_object(content: object) -> bool:
    return isinstance(content, dict)


def _object(call: ToolCall) -> Any:
    return arguments_of(call) if call.arguments.strip() else {}


class ChatMessageForm(MessageForm):
    """OpenAI's chat completions."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[Message]:
        """Return one assistant message."""
        whole = chat_completion(completion)
        said: Message = next(each["message"] for each in whole["choices"] if each["index"] == choice.index)
        message = {name: said[name] for name in _CHAT_FIELDS if said.get(name) is not None}
        if own:
            message |= {name: said[name] for name in _RESENT if said.get(name) and choice.tool_calls}
        if audio := mapping(choice.audio).get("id"):
            message["audio"] = {"id": audio}
        return [{"content": None, **message}] if message.get("content") is None else [message]

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[Message]:
        """Return one message per result. A failed call is marked only by its text."""
        return [self._result(completion, choice, result) for result in results]

    def _result(self, completion: Completion, choice: Choice, result: ToolResult) -> Message:
        call, text = result.call, as_text(result.content)
        if call.type == "function_call":
            return {"role": "function", "name": call.name, "content": text}
        return {"role": "tool", "tool_call_id": id_of(completion, choice, call), "content": text}


class AnthropicMessageForm(MessageForm):
    """Anthropic's messages."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[Message]:
        """Return one assistant message, with its thinking and signatures if Anthropic produced it."""
        if own:
            return [{"role": "assistant", "content": anthropic.message(completion)["content"]}]
        text: list[Message] = [{"type": "text", "text": choice.text}] if choice.text else []
        return [
            {"role": "assistant", "content": [*text, *(self._call(completion, choice, c) for c in choice.tool_calls)]}
        ]

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[Message]:
        """Return one user message with all results; the API rejects results in separate messages."""
        return [{"role": "user", "content": [self._result(completion, choice, result) for result in results]}]

    @staticmethod
    def _call(completion: Completion, choice: Choice, call: ToolCall) -> Message:
        return {"type": "tool_use", "id": id_of(completion, choice, call), "name": call.name, "input": _object(call)}

    @staticmethod
    def _result(completion: Completion, choice: Choice, result: ToolResult) -> Message:
        failed = {"is_error": True} if result.failed else {}
        id = id_of(completion, choice, result.call)
        return {"type": "tool_result", "tool_use_id": id, "content": as_text(result.content), **failed}


class ResponsesMessageForm(MessageForm):
    """The items of `input` of OpenAI's Responses API."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[Message]:
        """Return the output items. Those of a Responses answer include ids and reasoning with its encrypted content."""
        if own:
            items: list[Message] = whole_response(completion)["output"]
            return items
        text: list[Message] = [{"role": "assistant", "content": choice.text}] if choice.text else []
        return [*text, *(self._call(completion, choice, call) for call in choice.tool_calls)]

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[Message]:
        """Return one item per result. A failed call is marked only by its text."""
        return [
            {
                "type": "custom_tool_call_output" if result.call.type == "custom" else "function_call_output",
                "call_id": id_of(completion, choice, result.call),
                "output": as_text(result.content),
            }
            for result in results
        ]

    @staticmethod
    def _call(completion: Completion, choice: Choice, call: ToolCall) -> Message:
        id = id_of(completion, choice, call)
        if call.type == "custom":
            return {"type": "custom_tool_call", "call_id": id, "name": call.name, "input": call.arguments}
        return {"type": "function_call", "call_id": id, "name": call.name, "arguments": call.arguments or "{}"}


class GeminiMessageForm(MessageForm):
    """The `contents` of Gemini's `generateContent`."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[Message]:
        """Return one `model` content, with its thought signatures if Gemini produced it."""
        if own:
            for candidate in gemini.generated(completion).get("candidates", ()):
                if candidate.get("index", 0) == choice.index and candidate.get("content"):
                    return [{"role": "model", **candidate["content"]}]
        text: list[Message] = [{"text": choice.text}] if choice.text else []
        return [{"role": "model", "parts": [*text, *map(self._call, choice.tool_calls)]}]

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[Message]:
        """Return one `user` content with all results."""
        return [{"role": "user", "parts": list(map(self._result, results))}]

    @staticmethod
    def _call(call: ToolCall) -> Message:
        return {"functionCall": {"name": call.name, "args": _object(call)}}

    @staticmethod
    def _result(result: ToolResult) -> Message:
        # The response must be an object; other content goes into `output` or `error`.
        # (https://ai.google.dev/api/caching#FunctionResponse)
        content, name = result.content, "error" if result.failed else "output"
        response = mapping(content) if _is_object(content) and not result.failed else {name: content}
        id = {"id": result.call.id} if result.call.id else {}
        return {"functionResponse": {**id, "name": result.call.name, "response": response}}


register_message_form("openai", ChatMessageForm())
register_message_form("anthropic", AnthropicMessageForm())
register_message_form("responses", ResponsesMessageForm())
register_message_form("gemini", GeminiMessageForm())
