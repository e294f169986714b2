"""Counting tokens: of text that grows, of prompts, and what they cost. One idea a file.

running     the exact count of a growing text
encodings   tiktoken's tables             models      which encoding a model has
counters    who counts: encodings, other tokenizers, rules of thumb
prompts     messages and tools            images      pictures
usage       the provider's own figures    prices      the user's price table
"""

from streamkit.tokens.counters import Characters, Counter, CounterLike, Encoding, Function, HuggingFace, find_counter
from streamkit.tokens.encodings import load_encoding
from streamkit.tokens.models import encoding_name
from streamkit.tokens.prices import Price, Prices
from streamkit.tokens.prompts import PromptTokens, prompt_tokens
from streamkit.tokens.running import RunningCount

__all__ = [
    "Characters",
    "Counter",
    "CounterLike",
    "Encoding",
    "Function",
    "HuggingFace",
    "Price",
    "Prices",
    "PromptTokens",
    "RunningCount",
    "encoding_name",
    "find_counter",
    "load_encoding",
    "prompt_tokens",
]
