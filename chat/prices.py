"""What tokens cost: US dollars for a million tokens read and written.

What is known of the vendors' list prices; batches, cached tokens and agreements of one's own cost less. A name that is
not listed has no price, and nobody guesses one from a similar name. LLM_PRICES says what a table cannot know.
"""

import logging
import re
from decimal import Decimal
from functools import lru_cache

from django.conf import settings

from chat.llm import Usage

logger = logging.getLogger(__name__)
PER_MILLION = {
    "gpt-4o": (Decimal("2.50"), Decimal("10")),
    "gpt-4o-mini": (Decimal("0.15"), Decimal("0.60")),
    "gpt-4.1": (Decimal("2"), Decimal("8")),
    "gpt-4.1-mini": (Decimal("0.40"), Decimal("1.60")),
    "claude-opus-4": (Decimal("15"), Decimal("75")),
    "claude-opus-4-0": (Decimal("15"), Decimal("75")),
    "claude-opus-4-1": (Decimal("15"), Decimal("75")),
    "claude-opus-4-5": (Decimal("5"), Decimal("25")),
    "claude-sonnet-4": (Decimal("3"), Decimal("15")),
    "claude-sonnet-4-0": (Decimal("3"), Decimal("15")),
    "claude-sonnet-4-5": (Decimal("3"), Decimal("15")),
    "claude-haiku-4-5": (Decimal("1"), Decimal("5")),
}
_PRICE = re.compile(r"([^=]+)=\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)")
_OF_A_DAY = re.compile(r"-(\d{4}-\d\d-\d\d|\d{8}|latest)$")  # the same model as it was released then


def cost_of(model: str, usage: Usage) -> Decimal | None:
    """US dollars; None for a model whose price nobody named."""
    prices = PER_MILLION | own_prices()
    price = prices.get(model) or prices.get(_OF_A_DAY.sub("", model))
    if price is None:
        return None
    return (usage.input_tokens * price[0] + usage.output_tokens * price[1]) / 1_000_000


def own_prices() -> dict[str, tuple[Decimal, Decimal]]:
    """LLM_PRICES: "my-model=0.1/0.3, other=1/2"."""
    return _read(settings.LLM_PRICES)


@lru_cache
def _read(told: str) -> dict[str, tuple[Decimal, Decimal]]:
    prices = {}
    for item in filter(None, map(str.strip, told.split(","))):
        if found := _PRICE.fullmatch(item):
            prices[found[1].strip()] = (Decimal(found[2]), Decimal(found[3]))
        else:
            logger.warning("LLM_PRICES: %r is not read; a price is written name=0.1/0.3.", item)
    return prices
