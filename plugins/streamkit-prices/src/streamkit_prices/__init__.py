"""Prices of models for streamkit, from genai-prices.

pipeline = sk.Parse() | sk.Extract() | sk.Count("gpt-4o", prices="genai")
"""

from streamkit_prices.table import GenaiPrices

__all__ = ["GenaiPrices"]
STREAMKIT_API = 1
