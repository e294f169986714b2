"""The encoding of each model."""

FALLBACK = "o200k_base"
"""The encoding for models whose own is unknown; their counts have `exact=False`."""

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
"""Model families that older releases of tiktoken lack or resolve wrongly: for `ft:gpt-4.1` they return the encoding of gpt-4."""


def encoding_name(model: str) -> tuple[str, bool]:
    """The encoding for the name of a model or an encoding, and whether the name is known.

    Looks in `PREFIXES`, then in tiktoken's own table; a router's prefix (`openai/gpt-4o`) is removed. For a model that is in
    neither, returns the newest encoding and `False`.
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
