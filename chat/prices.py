"""What tokens cost, for the models whose price is known: US dollars for a million tokens read and written."""

from decimal import Decimal

from django.conf import settings

from chat.llm import Usage, known

PER_MILLION = {
    "gpt-4o": (Decimal("2.50"), Decimal("10")),
    "gpt-4o-mini": (Decimal("0.15"), Decimal("0.60")),
    "gpt-4.1": (Decimal("2"), Decimal("8")),
    "gpt-4.1-mini": (Decimal("0.40"), Decimal("1.60")),
    "claude-opus-4": (Decimal("15"), Decimal("75")),
    "claude-opus-4-1": (Decimal("15"), Decimal("75")),
    "claude-opus-4-5": (Decimal("5"), Decimal("25")),
    "claude-sonnet-4": (Decimal("3"), Decimal("15")),
    "claude-haiku-4-5": (Decimal("1"), Decimal("5")),
}


def cost_of(model: str, usage: Usage) -> Decimal | None:
    """US dollars; None for a model whose price nobody named."""
    price = known(PER_MILLION | own_prices(), model)
    if price is None:
        return None
    return (usage.input_tokens * price[0] + usage.output_tokens * price[1]) / 1_000_000


def own_prices() -> dict[str, tuple[Decimal, Decimal]]:
    """LLM_PRICES: "my-model=0.1/0.3, other=1/2"."""
    items = [item.partition("=") for item in settings.LLM_PRICES.split(",") if "=" in item]
    prices = {name.strip(): price.partition("/") for name, _, price in items}
    return {name: (Decimal(read.strip()), Decimal(written.strip())) for name, (read, _, written) in prices.items()}
