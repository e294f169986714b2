"""A chat in the terminal. Ctrl-C cancels an answer, Ctrl-D or an empty line ends the chat.

    streamkit serve-demo --port 8080
    python docs/examples/terminal_chat.py http://127.0.0.1:8080/v1

It keeps the conversation, and prints the tokens and the time of each answer. The text received before Ctrl-C
is kept in the conversation. The key is taken from OPENAI_API_KEY; the second argument is another model.
"""

import asyncio
import os
import sys
import time

import streamkit as sk

# Control characters: a model's text must not move the cursor or set the title.
OBEYED = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")

Message = dict[str, str]


def chat(base_url: str, model: str = "gpt-4o-mini") -> None:
    messages: list[Message] = []
    with asyncio.Runner() as runner:
        while question := ask():
            messages.append({"role": "user", "content": question})
            answer = respond(runner, base_url, model, messages)
            if answer:
                messages.append({"role": "assistant", "content": answer})
            else:
                messages.pop()  # no answer: the question can be sent again


def ask() -> str:
    """The next question; empty at the end."""
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return ""


def respond(runner: asyncio.Runner, base_url: str, model: str, messages: list[Message]) -> str:
    """Show the answer while it arrives, and return the received text, also of a cancelled answer."""
    body = {"model": model, "stream": True, "messages": messages}
    headers = {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
    pipeline = sk.Parse() | sk.Extract() | sk.Count(model) | sk.Accumulate()
    answer = sk.http.post(f"{base_url}/chat/completions", json=body, headers=headers) | pipeline
    began = time.monotonic()
    try:
        runner.run(show(answer))
    except KeyboardInterrupt:
        end = "stopped"  # the connection is already closed
    except sk.StreamkitError as error:
        end = str(error)
    else:
        end = answer.end.reason if answer.end else ""
    print(f"\n[{answer.stage(sk.Count).tokens()} tokens, {time.monotonic() - began:.1f} s, {end}]")
    return answer.stage(sk.Accumulate).snapshot.text


async def show(answer: sk.Stream[sk.Event]) -> None:
    async with answer as events:
        async for event in events:
            if isinstance(event, sk.TextDelta | sk.RefusalDelta):
                print(event.text.translate(OBEYED), end="", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    chat(*sys.argv[1:3])
