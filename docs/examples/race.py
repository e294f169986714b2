"""A race of two providers: the first with content is read, the other's connection is closed.

    streamkit serve-demo --port 8080 --first-token 3
    streamkit serve-demo --port 8081
    python docs/examples/race.py "Count to 20" http://127.0.0.1:8080/v1 http://127.0.0.1:8081/v1 --hedge 0.5

The request is sent to the next provider when the earlier ones have returned no content for `--hedge` seconds, or at once when
they have failed; `--hedge 0` sends all requests at the same time, and you pay for all. If a provider fails in the middle of its
answer, its smaller model is the fallback, and the text before is void. The key, the same for all, is taken from OPENAI_API_KEY.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

import streamkit as sk
from streamkit.sources.http import Deadlines

MODELS = ("gpt-4o", "gpt-4o-mini")
PATIENCE = Deadlines(connect=5, first_content=30, idle_content=15)


def ask(base_url: str, prompt: str, key: str) -> sk.Stream[sk.Event]:
    """One provider's answer, from the first of its models that returns one."""

    def attempt(model: str) -> sk.Stream[sk.Event]:
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": prompt}]}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        source = sk.http.post(f"{base_url}/chat/completions", json=body, headers=headers, deadlines=PATIENCE)
        return source | sk.Parse() | sk.Extract()

    models = [lambda model=model: attempt(model) for model in MODELS]
    return sk.hops.fallback(*models, after_release="reset") | sk.Accumulate()


async def main(prompt: str, urls: Sequence[str], *, hedge: float = 0.0, key: str = "") -> str:
    """Print the answer while it arrives, and return all of it."""
    answer = ""
    async with sk.hops.race(*(ask(url, prompt, key) for url in urls), after=hedge or None) as events:
        print(f"[{urls[events.number]}]")
        async for event in events:
            match event:
                case sk.TextDelta(text=text):
                    print(text, end="", flush=True)
                case sk.events.Reset(cause=reason):
                    print(f"\n[{reason}: once more from the beginning]")
                case sk.Completion(text=answer):
                    print()
                case sk.StreamEnd(reason=reason) if reason != "completed":
                    print(f"[{reason}]")
    return answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ask several providers, and read the first that answers.")
    parser.add_argument("prompt")
    parser.add_argument("urls", nargs="+", metavar="URL", help="the base URL of a provider, with its /v1")
    parser.add_argument("--hedge", type=float, default=0.0, metavar="SECONDS", help="how long to wait for each")
    options = parser.parse_args()
    try:
        asyncio.run(main(options.prompt, options.urls, hedge=options.hedge, key=os.environ.get("OPENAI_API_KEY", "")))
    except sk.StreamkitError as error:
        sys.exit(f"no provider answered: {error}")
