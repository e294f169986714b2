"""How each library reads an answer: as the first example of its documentation does.

A reader appends what it would print to a list, and returns how the stream says that it ended.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Reader = Callable[[str, list[str]], Awaitable[str]]
QUESTION: list[Any] = [{"role": "user", "content": "The launch code?"}]


def ended(reason: object) -> str:
    """An end, as the library reports it."""
    return f"`{reason}`" if reason else "ends"


async def streamkit(base: str, text: list[str]) -> str:
    import streamkit as sk

    body = {"model": "gpt-4o", "stream": True, "messages": QUESTION}
    pipeline = sk.Parse() | sk.Extract() | sk.Moderate(sk.Rule("secret", phrases=("blue heron 42",)))
    async with sk.http.post(f"{base}/chat/completions", json=body) | pipeline as events:
        async for event in events:
            if isinstance(event, sk.TextDelta):
                text.append(event.text)
    return ended(events.end and events.end.reason)


async def openai(base: str, text: list[str]) -> str:
    from openai import AsyncOpenAI

    reason = None
    async with AsyncOpenAI(base_url=base, api_key="any", max_retries=0) as client:
        async for chunk in await client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True):
            for choice in chunk.choices:
                text.append(choice.delta.content or "")
                reason = choice.finish_reason or reason
    return ended(reason)


async def litellm(base: str, text: list[str]) -> str:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "true"  # or importing it waits for a download
    import litellm as library

    reason = None
    library.suppress_debug_info = True
    stream = await library.acompletion(
        model="openai/gpt-4o", messages=QUESTION, stream=True, base_url=base, api_key="any", max_retries=0
    )
    async for chunk in stream:
        for choice in chunk.choices:
            text.append(choice.delta.content or "")
            reason = choice.finish_reason or reason
    return ended(reason)


async def langchain(base: str, text: list[str]) -> str:
    from langchain_openai import ChatOpenAI

    reason = None
    model = ChatOpenAI(model="gpt-4o", base_url=base, api_key="any", max_retries=0)  # type: ignore[arg-type]
    async for chunk in model.astream("The launch code?"):
        text.append(str(chunk.content))
        reason = chunk.response_metadata.get("finish_reason") or reason
    return ended(reason)


async def pydantic_ai(base: str, text: list[str]) -> str:
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(base_url=base, api_key="any", max_retries=0)
    agent = Agent(OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client)))
    async with agent.run_stream("The launch code?") as result:
        async for piece in result.stream_text(delta=True, debounce_by=None):
            text.append(piece)
    return ended(result.response.finish_reason)


async def vercel_ai(base: str, text: list[str]) -> str:
    import ai

    provider = ai.get_provider("openai", base_url=base, api_key="any")
    protocol = ai.providers.openai.OpenAIChatCompletionsProtocol()
    model = ai.Model(id="gpt-4o", provider=provider, protocol=protocol)
    reason = None
    async with ai.stream(model, [ai.user_message("The launch code?")]) as stream:
        async for event in stream:
            if isinstance(event, ai.events.TextDelta):
                text.append(event.chunk)
            reason = getattr(event, "finish_reason", None) or reason
    return ended(reason)


async def httpx_sse(base: str, text: list[str]) -> str:
    import httpx
    from httpx_sse import aconnect_sse

    body = {"model": "gpt-4o", "stream": True, "messages": QUESTION}
    reason = None
    async with (
        httpx.AsyncClient() as client,
        aconnect_sse(client, "POST", f"{base}/chat/completions", json=body) as source,
    ):
        async for event in source.aiter_sse():
            if event.data != "[DONE]":
                for choice in json.loads(event.data).get("choices", ()):
                    text.append(choice["delta"].get("content") or "")
                    reason = choice.get("finish_reason") or reason
    return ended(reason)


async def nemo(base: str, text: list[str], *, stream_first: bool = True) -> str:
    """OpenAI's SDK, with a rail on the output that blocks the secret."""
    from nemoguardrails import LLMRails, RailsConfig
    from openai import AsyncOpenAI

    config = RailsConfig.from_content(
        yaml_content=f"""
models: []
rails:
  config:
    regex_detection:
      output:
        patterns: ["blue heron 42"]
  output:
    flows: ["regex check output"]
    streaming:
      enabled: true
      stream_first: {str(stream_first).lower()}
"""
    )

    async def tokens() -> AsyncIterator[str]:
        async with AsyncOpenAI(base_url=base, api_key="any", max_retries=0) as client:
            async for chunk in await client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True):
                for choice in chunk.choices:
                    if choice.delta.content:
                        yield choice.delta.content

    blocked = False
    async for piece in LLMRails(config).stream_async(messages=QUESTION, generator=tokens()):
        if piece.startswith('{"error"'):
            blocked = True
        else:
            text.append(piece)
    return "then `content_blocked`" if blocked else ended(None)


async def nemo_held(base: str, text: list[str]) -> str:
    return await nemo(base, text, stream_first=False)


READERS: dict[str, Reader] = {
    "streamkit": streamkit,
    "openai": openai,
    "litellm": litellm,
    "langchain-openai": langchain,
    "pydantic-ai": pydantic_ai,
    "ai": vercel_ai,
    "httpx-sse": httpx_sse,
    "nemoguardrails": nemo,
    "nemoguardrails, stream_first off": nemo_held,
}
NEEDS = {
    "streamkit": "streamkit-llm",
    "openai": "openai",
    "litellm": "litellm",
    "langchain-openai": "langchain-openai",
    "pydantic-ai": "pydantic-ai-slim",
    "ai": "ai",
    "httpx-sse": "httpx-sse",
    "nemoguardrails": "nemoguardrails",
    "nemoguardrails, stream_first off": "nemoguardrails",
}
"""The distribution of each."""
