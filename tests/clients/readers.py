"""Answers as read by Python's clients, in one form for all of them.

    python readers.py CLIENT    # reads tasks as lines of JSON, and writes an answer for each

It imports nothing of this project, since it also runs where only the clients are installed. An answer is

    {"error": null, "id": …, "model": …, "usage": [prompt, completion, total],
     "choices": {"0": {"role", "text", "reasoning", "refusal", "calls": [[id, type, name, arguments]], "finish", "citations"}}}

and has the fields that the client has. `JSON.parse` and Python write numbers and empty texts alike.
"""

import asyncio
import json
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

MESSAGES: Any = [{"role": "user", "content": "x"}]
USAGE = {"include_usage": True}
Answer = dict[str, Any]


def choice(message: dict[str, Any], finish: str | None) -> dict[str, Any]:
    """The choice of a chat completion in the form of all."""
    calls = [
        [
            call.get("id"),
            call.get("type"),
            (function := call.get("function") or {}).get("name"),
            function.get("arguments"),
        ]
        for call in message.get("tool_calls") or ()
    ]
    if function := message.get("function_call"):
        calls.append([None, "function_call", function.get("name"), function.get("arguments")])
    return {
        "role": message.get("role"),
        "text": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or message.get("reasoning") or "",
        "refusal": message.get("refusal") or "",
        "calls": calls,
        "citations": [
            [c["url"], c["start_index"], c["end_index"]]
            for a in message.get("annotations") or ()
            if (c := a.get("url_citation"))
        ],
        "finish": finish,
    }


def usage_of(usage: Any) -> list[Any] | None:
    return [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens] if usage else None


# openai


async def openai(url: str, api: str, stream: bool) -> Answer:
    """The helper `.stream()`, which assembles the answer."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="any", max_retries=0, http_client=_http_client()) as client:
        if api == "completions":
            return await _openai_text(client, stream)
        if not stream:
            return _openai_answer(await client.chat.completions.create(model="any", messages=MESSAGES))
        options: Any = {"model": "any", "messages": MESSAGES, "stream_options": USAGE}
        async with client.chat.completions.stream(**options) as events:
            async for _ in events:
                pass
        # The final completion raises for an answer that was cut or filtered; what it is made of does not.
        return _openai_answer(events._state.current_completion_snapshot)


def _http_client() -> Any:
    from openai import DefaultAsyncHttpxClient

    # Reading the certificates would take longer than all else.
    return DefaultAsyncHttpxClient(verify=False)


def _openai_answer(completion: Any) -> Answer:
    with warnings.catch_warnings():
        # A provider's content may be of another type than OpenAI's.
        warnings.simplefilter("ignore", UserWarning)
        choices = {
            str(each.index): choice(each.message.model_dump(), each.finish_reason) for each in completion.choices
        }
    return {"id": completion.id, "model": completion.model, "usage": usage_of(completion.usage), "choices": choices}


async def _openai_text(client: Any, stream: bool) -> Answer:
    options = {"stream": True, "stream_options": USAGE} if stream else {}
    answer = await client.completions.create(model="any", prompt="x", **options)
    chunks = [chunk async for chunk in answer] if stream else [answer]
    choices: dict[str, Any] = {}
    for each in (each for chunk in chunks for each in chunk.choices):
        known = choices.setdefault(str(each.index), {"text": "", "finish": None, "tokens": []})
        known["text"] += getattr(each, "text", None) or ""
        known["finish"] = each.finish_reason or known["finish"]
        known["tokens"] += (each.logprobs and each.logprobs.tokens) or []
    usage = [chunk.usage for chunk in chunks if chunk.usage]
    return {
        "id": chunks[0].id,
        "model": chunks[0].model,
        "usage": usage_of(usage[-1] if usage else None),
        "choices": choices,
    }


# langchain-openai


async def langchain(url: str, api: str, stream: bool) -> Answer:
    """`astream()`, whose chunks add up to a message. It has one choice."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model="any", base_url=url, api_key="any", max_retries=0, stream_usage=True, use_responses_api=False
    )
    message: Any = None
    if stream:
        async for chunk in model.astream("x"):
            message = chunk if message is None else message + chunk
    else:
        message = await model.ainvoke("x")
    usage, metadata = message.usage_metadata, message.response_metadata
    calls = [[call["id"], "function", call["name"], json.dumps(call["args"])] for call in message.tool_calls]
    calls += [[call["id"], "invalid", call["name"], call["args"]] for call in message.invalid_tool_calls]
    return {
        "usage": usage and [usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]],
        "choices": {
            "0": {
                "text": message.text or "",
                "refusal": message.additional_kwargs.get("refusal") or "",
                "calls": calls,
                "finish": metadata.get("finish_reason"),
            }
        },
    }


# litellm


async def litellm(url: str, api: str, stream: bool) -> Answer:
    """`acompletion()`, whose chunks its own builder joins."""
    import litellm as client

    client.suppress_debug_info = True
    options: Any = {"stream": True, "stream_options": USAGE} if stream else {}
    answer: Any = await client.acompletion(
        model="openai/any", api_base=url, api_key="any", messages=MESSAGES, max_retries=0, **options
    )
    if stream:
        chunks = [chunk async for chunk in answer]
        answer = client.stream_chunk_builder(chunks, messages=MESSAGES)
    choices = {str(each.index): choice(each.message.model_dump(), each.finish_reason) for each in answer.choices}
    return {"usage": usage_of(getattr(answer, "usage", None)), "choices": choices}


READERS: dict[str, Callable[[str, str, bool], Awaitable[Answer]]] = {
    "openai": openai,
    "langchain-openai": langchain,
    "litellm": litellm,
}


async def read(client: str, url: str, api: str, stream: bool) -> Answer:
    """The answer, or the error that the client raises."""
    try:
        return {"error": None} | await READERS[client](url, api, stream)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


async def main(client: str) -> None:
    for line in sys.stdin:
        task = json.loads(line)
        answer = await read(client, task["url"], task["api"], task["stream"])
        print(json.dumps({**task, "answer": answer}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
