"""Providers by name: the URL of each, and the environment variable of its key.

URLs and headers are from the providers' own documentation. There is no default model, because models are replaced within months.
"""

from typing import NamedTuple

DEMO = "http://demo.invalid/v1"
"""Placeholder for the embedded provider until it is started. (https://www.rfc-editor.org/rfc/rfc2606 reserves `.invalid`)"""


class Preset(NamedTuple):
    """One provider. `{model}` in `url` is replaced by the model's name. `keys` are environment variables."""

    url: str
    keys: tuple[str, ...] = ()
    key_header: str = "authorization"
    headers: tuple[tuple[str, str], ...] = ()


PRESETS: dict[str, Preset] = {
    "openai": Preset("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "openai-responses": Preset("https://api.openai.com/v1/responses", ("OPENAI_API_KEY",)),
    "anthropic": Preset(
        "https://api.anthropic.com/v1/messages",
        ("ANTHROPIC_API_KEY",),
        "x-api-key",
        (("anthropic-version", "2023-06-01"),),
    ),
    "gemini": Preset(
        "https://generativelanguage.googleapis.com/v1beta/models/{model}:streamGenerateContent?alt=sse",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "x-goog-api-key",
    ),
    "mistral": Preset("https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    "cohere": Preset("https://api.cohere.com/v2/chat", ("COHERE_API_KEY", "CO_API_KEY")),
    "deepseek": Preset("https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",)),
    "xai": Preset("https://api.x.ai/v1", ("XAI_API_KEY",)),
    "groq": Preset("https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    "cerebras": Preset("https://api.cerebras.ai/v1", ("CEREBRAS_API_KEY",)),
    "openrouter": Preset("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "together": Preset("https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
    "fireworks": Preset("https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
    "ollama": Preset("http://localhost:11434/api/chat"),
    "vllm": Preset("http://localhost:8000/v1"),
    "llama.cpp": Preset("http://localhost:8080/v1"),
    "lm-studio": Preset("http://localhost:1234/v1"),
    "demo": Preset(DEMO),
}
