"""Token counts of streamed text and of prompts, provider usage, and costs.

running     exact incremental token counts
encodings   tiktoken's tables                 models      the encoding of a model
counters    encodings, other tokenizers, and estimates by number of characters
prompts     messages and tools                images      images in prompts
usage       the usage that providers report   responses   the usage of several responses in one stream
prices      prices and costs
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
