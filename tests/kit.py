"""Helpers of many tests: small stages and scripted sources."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import streamkit as sk


@dataclass
class Same(sk.Stage[Any, Any]):
    """Returns every item as it is."""

    def feed(self, item: Any) -> Iterable[Any]:
        return (item,)
