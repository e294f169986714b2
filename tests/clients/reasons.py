"""Why a client reads two forms of one answer differently. Whatever no reason explains is a defect."""

from dataclasses import dataclass

from tests.clients.comparison import Difference


@dataclass(frozen=True)
class Reason:
    """`fields`, `recordings` and `clients` that it explains; no clients are all clients."""

    why: str
    fields: tuple[str, ...]
    recordings: tuple[str, ...]
    clients: tuple[str, ...] = ()

    def explains(self, difference: Difference) -> bool:
        return (
            difference.field in self.fields
            and difference.recording in self.recordings
            and (not self.clients or difference.client in self.clients)
        )


RAW = (
    Reason(
        "The provider sends no role, or repeats it in each chunk, which the client joins. It is written once.",
        ("role",),
        (
            "local/guidellm-mock.chat",
            "local/litellm-proxy.chat-n2",
            "public/databricks-chat",
            "public/gpustack-vllm-chat-reasoning",
            "public/hf-router-together-deepseek-r1",
            "public/kimi-chat-tools-variant-a",
            "public/kimi-chat-tools-variant-b",
            "public/litellm-proxy-chat-n2",
            "public/ollama-chat-qwen3-reasoning",
            "public/openrouter-chat-reasoning-tool",
            "public/snowflake-chat-thinking",
            "public/together-chat-text-in-choice",
            "public/zai-chat-glm-reasoning-tools",
        ),
        ("openai",),
    ),
    Reason(
        "The provider sends no role, without which the client refuses the answer.",
        ("error",),
        ("local/guidellm-mock.chat", "public/gpustack-vllm-chat-reasoning"),
        ("openai (npm)",),
    ),
    Reason(
        "The provider sends no finish reason for a choice; some clients refuse such an answer. Each choice of a complete answer "
        "is written with one.",
        ("finish", "error"),
        (
            "local/guidellm-mock.completions",
            "local/litellm-proxy.chat-n2",
            "public/kimi-chat-tools-variant-a",
            "public/kimi-chat-tools-variant-b",
            "public/litellm-proxy-chat-n2",
            "public/snowflake-chat-thinking",
        ),
        ("openai", "openai (npm)", "ai", "litellm"),
    ),
    Reason(
        "The same: there is no finish reason to read.",
        ("finish",),
        ("public/kimi-chat-tools-variant-a", "public/kimi-chat-tools-variant-b", "public/snowflake-chat-thinking"),
        ("langchain-openai",),
    ),
    Reason(
        "The provider repeats the id and the name of a call, which the client joins. They are written once.",
        ("calls",),
        ("public/kimi-chat-tools-variant-a",),
    ),
    Reason(
        "The provider sends reasoning in `reasoning_details` alone, which the client does not read. It is `reasoning_content`.",
        ("reasoning",),
        ("public/snowflake-chat-thinking",),
    ),
    Reason(
        "The recording holds two responses, which streamkit does not join.",
        ("error",),
        ("public/cerebras-chat-structured",),
    ),
    Reason(
        "The provider sends the finish reason twice, which the client joins. It is written once.",
        ("finish",),
        ("public/openrouter-chat-reasoning-tool",),
        ("langchain-openai",),
    ),
    Reason(
        "The provider sends the content as a list of parts, which the client does not read.",
        ("text", "reasoning"),
        ("public/mistral-chat-hybrid-reasoning", "public/mistral-chat-magistral-contentlist"),
    ),
    Reason(
        "The provider sends a chunk whose choice has no delta, or one before any role; the client fails on it.",
        ("error",),
        ("public/azure-chat-content-filter",),
    ),
    Reason(
        "The provider's `reasoning_details` have no index, without which the client refuses a list. They are not written.",
        ("error",),
        ("public/openrouter-chat-reasoning-details",),
    ),
    Reason(
        "The provider sends a finish reason without the choice's index, which the client takes for another choice.",
        ("finish", "text", "tokens"),
        ("public/openai-completions-davinci-proxy",),
    ),
    Reason(
        "The provider's id is empty. The response has one of its own.",
        ("id",),
        ("public/snowflake-chat-thinking",),
    ),
    Reason(
        "The provider gives each chunk another id. The first is written in all; the client keeps the last.",
        ("id",),
        ("local/mockllm.chat",),
    ),
    Reason(
        "The provider sends its usage so far in several chunks, which the client adds up. It is written once.",
        ("usage",),
        (
            "public/databricks-chat",
            "public/deepseek-chat-cumulative-usage",
            "public/groq-chat-arabic",
            "public/groq-chat-parallel-tools",
        ),
    ),
    Reason(
        "The provider sends chunks after the usage, and the client keeps the usage of the last chunk. It is written last.",
        ("usage",),
        ("public/litellm-proxy-chat-n2",),
    ),
    Reason(
        "The client has one choice and reads all chunks into it. The provider sends two choices in one chunk, of which it reads "
        "the first; they are written as OpenAI sends them, one a chunk.",
        ("text", "finish"),
        ("local/litellm-proxy.chat-n2", "public/litellm-proxy-chat-n2"),
        ("ai", "langchain-openai"),
    ),
)
WHOLE = (
    Reason(
        "The client has one choice; streamed, it reads all chunks into it.",
        ("text", "finish"),
        ("local/litellm-proxy.chat-n2", "public/litellm-proxy-chat-n2", "public/openai-chat-n2"),
        ("ai", "langchain-openai"),
    ),
    Reason(
        "The client reads a refusal only from a whole answer.",
        ("refusal",),
        ("public/openai-chat-refusal", "public/openai-responses-refusal"),
        ("langchain-openai", "litellm"),
    ),
    Reason(
        "The provider sends no usage; streamed, the client counts by itself.",
        ("usage",),
        (
            "local/aimock.chat-reasoning",
            "local/aimock.chat-tool",
            "local/litellm-proxy.chat-n2",
            "local/llamacpp-python.chat.tiny",
            "local/mockllm.chat",
            "public/anthropic-legacy-complete-crlf",
            "public/azure-chat-content-filter",
            "public/replicate-plaintext-multiline",
            "public/vllm-chat-opt125m",
        ),
        ("litellm",),
    ),
    Reason(
        "The provider's total has reasoning that its other figures have not; streamed, the client adds those up.",
        ("usage",),
        ("public/xai-chat-parallel-tools",),
        ("litellm",),
    ),
    Reason(
        "The client reads `<think>` tags only in a whole answer.",
        ("text", "reasoning"),
        ("public/hf-router-together-deepseek-r1",),
        ("litellm",),
    ),
)
REASONS = {"raw": RAW, "whole": WHOLE}


def reason_of(difference: Difference) -> Reason | None:
    """The first that explains it."""
    return next((reason for reason in REASONS[difference.against] if reason.explains(difference)), None)
