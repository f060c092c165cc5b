"""Which providers a conversation can be held with. Apart from chat.llm, whose clients take seconds to import."""

from django.conf import settings

OFFLINE = "offline"
CHOICES = ("openai", "anthropic", "compatible", OFFLINE)


def available() -> list[str]:
    """Those that are set up, and the offline planner, which always is."""
    is_set_up = {
        "openai": bool(settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL),
        "anthropic": bool(settings.ANTHROPIC_API_KEY),
        "compatible": bool(settings.COMPATIBLE_BASE_URL and settings.COMPATIBLE_MODEL),
    }
    return [name for name in CHOICES if is_set_up.get(name, True) or name == settings.LLM_PROVIDER]


def model_name(provider: str) -> str:
    """The model a provider answers with; none of the offline planner."""
    return str(getattr(settings, f"{provider.upper()}_MODEL", ""))
