"""Counting tokens: of text that grows, of prompts, and what they cost. One idea a file.

running     the exact count of a growing text
encodings   tiktoken's tables             models      which encoding a model has
counters    who counts: encodings, other tokenizers, rules of thumb
prompts     messages and tools            images      pictures
usage       the provider's own figures    responses   those of several responses in one stream
prices      what tokens cost
"""

from streamkit.tokens.counters import (
    Characters,
    Counter,
    CounterLike,
    Encoding,
    FunctionCounter,
    HuggingFace,
    find_counter,
)
from streamkit.tokens.encodings import load_encoding
from streamkit.tokens.models import encoding_name
from streamkit.tokens.prices import BilledTokens, Price, Prices, PriceTable, find_prices
from streamkit.tokens.prompts import PromptTokens, prompt_tokens
from streamkit.tokens.responses import Responses
from streamkit.tokens.running import RunningCount
from streamkit.tokens.usage import UsageParts, parts_of, usage_of

__all__ = [
    "BilledTokens",
    "Characters",
    "Counter",
    "CounterLike",
    "Encoding",
    "FunctionCounter",
    "HuggingFace",
    "Price",
    "PriceTable",
    "Prices",
    "PromptTokens",
    "Responses",
    "RunningCount",
    "UsageParts",
    "encoding_name",
    "find_counter",
    "find_prices",
    "load_encoding",
    "parts_of",
    "prompt_tokens",
    "usage_of",
]
