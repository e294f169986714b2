"""Which encoding a model counts by: the one table."""

FALLBACK = "o200k_base"
"""Fallback if the model's encoding is unknown; every count then has `exact=False`."""

PREFIXES = {
    "o1": "o200k_base",
    "o3": "o200k_base",
    "o4-mini": "o200k_base",
    "gpt-5": "o200k_base",
    "gpt-4.1": "o200k_base",
    "gpt-4.5": "o200k_base",
    "chatgpt-4o": "o200k_base",
    "codex-mini": "o200k_base",
    "computer-use-preview": "o200k_base",
    "gpt-oss": "o200k_harmony",
}
"""Families that older releases of tiktoken do not have, or not under every name: it takes `ft:gpt-4.1` for a gpt-4."""


def encoding_name(model: str) -> tuple[str, bool]:
    """The encoding of a model, or of an encoding's own name, and whether that is known.

    `PREFIXES`, and then tiktoken's own table; a router's prefix (`openai/gpt-4o`) is left out. A model that neither
    has gets the newest encoding as a stand-in, and `False`.
    """
    import tiktoken
    from tiktoken.model import encoding_name_for_model

    if model in tiktoken.list_encoding_names():
        return model, True
    model = model.removeprefix("openai/")
    base = model.removeprefix("ft:")
    for prefix, name in PREFIXES.items():
        if base == prefix or base.startswith(f"{prefix}-"):
            return name, True
    try:
        return encoding_name_for_model(model), True
    except KeyError:
        return FALLBACK, False
