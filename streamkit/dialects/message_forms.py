"""Convert an answer and the results of its tool calls into messages that continue the conversation, in four request formats.

For the provider of the answer the messages have everything it needs to verify the answer, such as ids and signatures of
reasoning; for others only text and calls. https://platform.openai.com/docs/guides/function-calling, …/guides/reasoning,
https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use,
https://ai.google.dev/gemini-api/docs/function-calling and …/thought-signatures.
"""

import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec

from streamkit.completion import MessageForm, ToolResult, register_message_form
from streamkit.core.wrong_input import kind_of
from streamkit.dialects import anthropic, gemini
from streamkit.dialects.fields import arguments_of, mapping
from streamkit.dialects.openai.response import call_id, chat_completion
from streamkit.dialects.responses.response import response as whole_response
from streamkit.errors import PipelineError
from streamkit.events import Choice, Completion, ToolCall

Message = dict[str, Any]
_CHAT_FIELDS = ("role", "content", "refusal", "tool_calls", "function_call")
_RESENT = ("reasoning_content", "reasoning", "reasoning_details")
"""Reasoning fields that some providers with OpenAI's format require back together with its calls (DeepSeek, OpenRouter)."""


NAMELESS = "unknown"
"""The name of a call to which the model gave none, since every provider refuses a request without one."""
_INVALID_JSON = "INVALID_JSON"
"""(https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming)"""
_LONE = re.compile("[\ud800-\udfff]")


def plain(content: Any) -> Any:
    """Return a tool's result as JSON-compatible data; a pydantic model is its fields. `PipelineError` for anything else."""
    if isinstance(content, str):
        # Half of an emoji can't be sent.
        return _LONE.sub("\ufffd", content)
    try:
        return msgspec.json.decode(msgspec.json.encode(content, enc_hook=_of_pydantic))
    except (TypeError, ValueError, RecursionError) as error:
        raise PipelineError(f"expected a result that is JSON-compatible data, found {kind_of(content)}") from error


def _of_pydantic(value: Any) -> Any:
    # By what it can do, so that pydantic is never imported here.
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    raise TypeError(f"{kind_of(value)} is not JSON-compatible")


def as_text(content: Any) -> str:
    """Return a tool's result as text: a string unchanged, anything else as JSON."""
    content = plain(content)
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()


def answer_text(choice: Choice) -> str:
    """The text of an answer; a refusal is one where a format has no field of its own for it."""
    return choice.text or choice.refusal or ""


def id_of(completion: Completion, choice: Choice, call: ToolCall) -> str:
    """Return the call's id, or if the provider gave none, a generated id that is stable for the same call."""
    response = (completion.id, completion.created, completion.model)
    return call.id or call_id(response, choice.index, call.index, call.name)


def _is_object(content: object) -> bool:
    return isinstance(content, dict)


def _object(call: ToolCall) -> Any:
    if not call.arguments.strip():
        return {}
    value: object = arguments_of(call)
    return cast("Message", value) if isinstance(value, dict) else _wrapped(call.arguments)


def _wrapped(arguments: object) -> Message:
    # These formats take an object alone, and the model is told what it wrote.
    return {_INVALID_JSON: arguments if isinstance(arguments, str) else as_text(arguments)}


class ChatMessageForm(MessageForm):
    """OpenAI's chat completions."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[Message]:
        """Return one assistant message."""
        whole = chat_completion(completion)
        full: Message = next(each["message"] for each in whole["choices"] if each["index"] == choice.index)
        message = {name: full[name] for name in _CHAT_FIELDS if full.get(name) is not None}
        if own:
            message |= {name: full[name] for name in _RESENT if full.get(name) and choice.tool_calls}
        if audio := mapping(choice.audio).get("id"):
            message["audio"] = {"id": audio}
        for call in message.get("tool_calls", ()):
            named = cast("Message", call.get("function") or call.get("custom") or {})
            named["name"] = named.get("name") or NAMELESS
        # Without a text there is `null` beside what stands in its place, and else an empty one.
        empty = None if len(message) > 1 else ""
        return [{"content": empty, **message}] if message.get("content") is None else [message]

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[Message]:
        """Return one message per result. A failed call is marked only by its text."""
        return [self._result(completion, choice, result) for result in results]

    def _result(self, completion: Completion, choice: Choice, result: ToolResult) -> Message:
        call, text = result.call, as_text(result.content)
        if call.type == "function_call":
            return {"role": "function", "name": call.name or NAMELESS, "content": text}
        return {"role": "tool", "tool_call_id": id_of(completion, choice, call), "content": text}


class AnthropicMessageForm(MessageForm):
    """Anthropic's messages."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[Message]:
        """Return one assistant message, with its thinking and signatures if Anthropic produced it; none if it is empty."""
        if own:
            blocks = cast("list[Message]", anthropic.message(completion)["content"])
            content = [self._sendable(block) for block in blocks]
        else:
            answer = answer_text(choice)
            content = [{"type": "text", "text": answer}] if answer else []
            content += [self._call(completion, choice, call) for call in choice.tool_calls]
        return [{"role": "assistant", "content": content}] if content else []

    @staticmethod
    def _sendable(block: Message) -> Message:
        if block.get("type") != "tool_use" or (isinstance(block.get("input"), dict) and block.get("name")):
            return block
        given: object = block.get("input")
        return {
            **block,
            "name": block.get("name") or NAMELESS,
            "input": given if isinstance(given, dict) else _wrapped(given),
        }

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[Message]:
        """Return one user message with all results; the API rejects results in separate messages."""
        return [{"role": "user", "content": [self._result(completion, choice, result) for result in results]}]

    @staticmethod
    def _call(completion: Completion, choice: Choice, call: ToolCall) -> Message:
        return {
            "type": "tool_use",
            "id": id_of(completion, choice, call),
            "name": call.name or NAMELESS,
            "input": _object(call),
        }

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
        answer = answer_text(choice)
        text: list[Message] = [{"role": "assistant", "content": answer}] if answer else []
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
        id, name = id_of(completion, choice, call), call.name or NAMELESS
        if call.type == "custom":
            return {"type": "custom_tool_call", "call_id": id, "name": name, "input": call.arguments}
        return {"type": "function_call", "call_id": id, "name": name, "arguments": call.arguments or "{}"}


class GeminiMessageForm(MessageForm):
    """The `contents` of Gemini's `generateContent`."""

    def messages(self, completion: Any, choice: Any, *, own: bool) -> list[Message]:
        """Return one `model` content, with its thought signatures if Gemini produced it; none if it is empty."""
        if own:
            for candidate in gemini.generated(completion).get("candidates", ()):
                if candidate.get("index", 0) == choice.index and candidate.get("content"):
                    return [{"role": "model", **candidate["content"]}]
        answer = answer_text(choice)
        parts = [*([{"text": answer}] if answer else []), *map(self._call, choice.tool_calls)]
        return [{"role": "model", "parts": parts}] if parts else []

    def results(self, completion: Any, choice: Any, results: Iterable[ToolResult]) -> list[Message]:
        """Return one `user` content with all results."""
        return [{"role": "user", "parts": list(map(self._result, results))}]

    @staticmethod
    def _call(call: ToolCall) -> Message:
        # The id that its result refers to.
        id = {"id": call.id} if call.id else {}
        return {"functionCall": {**id, "name": call.name or NAMELESS, "args": _object(call)}}

    @staticmethod
    def _result(result: ToolResult) -> Message:
        # The response must be an object; other content goes into `output` or `error`.
        # (https://ai.google.dev/api/caching#FunctionResponse)
        content, name = plain(result.content), "error" if result.failed else "output"
        response = mapping(content) if _is_object(content) and not result.failed else {name: content}
        id = {"id": result.call.id} if result.call.id else {}
        return {"functionResponse": {**id, "name": result.call.name or NAMELESS, "response": response}}


register_message_form("openai", ChatMessageForm())
register_message_form("anthropic", AnthropicMessageForm())
register_message_form("responses", ResponsesMessageForm())
register_message_form("gemini", GeminiMessageForm())
