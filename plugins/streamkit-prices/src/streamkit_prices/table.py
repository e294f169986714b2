"""The price table."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from streamkit import PipelineError
from streamkit.tokens import BilledTokens

_DIGITS = 100
"""Precision with which no price is rounded, independent of the program's decimal context."""


@dataclass(frozen=True)
class GenaiPrices:
    """A price table for `Count` and `Budget`, with the prices of `genai_prices.calc_price` and the data in that package.

    The provider is `provider` (`anthropic`, `azure`, `openrouter`, … or another name of genai-prices), or is determined by
    `api_url`, or else by the model name. `at` is the time for which prices are looked up; the default is now. Neither importing
    it nor computing a price uses the network. A provider that is not in genai-prices raises `PipelineError`.
    """

    provider: str | None = None
    api_url: str | None = None
    at: datetime | None = None

    def __post_init__(self) -> None:
        if self.provider is None and self.api_url is None:
            return
        if self.provider is not None and self.api_url is not None:
            raise PipelineError("expected a provider or an api_url, found both")
        try:
            get_snapshot().find_provider(None, self.provider, self.api_url)
        except LookupError as error:
            name = repr(self.provider) if self.provider else "that of api_url"
            raise PipelineError(f"expected a provider of genai-prices, found {name}") from error

    @property
    def currency(self) -> str:
        """The currency of all prices, US dollars."""
        return "USD"

    def cost(self, tokens: BilledTokens, *models: str | None) -> Decimal | None:
        """Return the cost of a response for the first of `models` that genai-prices has; `None` if it has none of them."""
        usage, tier = usage_of(tokens), tokens.service_tier
        for model in models:
            if model is not None and (cost := self._cost(usage, model, tier)) is not None:
                return cost
        return None

    def _cost(self, usage: Usage, model: str, tier: str | None) -> Decimal | None:
        context = {"service_tier": tier} if tier else None
        with localcontext() as digits:
            digits.prec = _DIGITS
            try:
                if self.api_url is not None:
                    found = calc_price(
                        usage,
                        model,
                        provider_api_url=self.api_url,
                        genai_request_timestamp=self.at,
                        price_context=context,
                    )
                else:
                    found = calc_price(
                        usage, model, provider_id=self.provider, genai_request_timestamp=self.at, price_context=context
                    )
            except LookupError:
                return None
        return found.total_price


def usage_of(tokens: BilledTokens) -> Usage:
    """Convert the tokens to the usage of genai-prices."""
    return Usage(
        input_tokens=tokens.prompt,
        cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        cache_write_5m_tokens=tokens.cache_write - tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
        input_audio_tokens=tokens.input_audio,
        cache_audio_read_tokens=tokens.cached_audio,
        output_tokens=tokens.completion,
        output_reasoning_tokens=tokens.reasoning,
        output_audio_tokens=tokens.output_audio,
        output_image_tokens=tokens.output_image,
        web_searches=tokens.web_searches,
    )
