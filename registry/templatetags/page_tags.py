"""How times and values read on a page."""

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone

register = template.Library()

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


@register.filter
def milliseconds(value: int) -> str:
    """84 ms, 1.2 s, 3 min 5 s."""
    seconds = value / 1000
    if seconds < 1:
        return f"{value} ms"
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s"
    return f"{int(seconds // MINUTE_S)} min {int(seconds % MINUTE_S)} s"


@register.filter
def ago(value: datetime | None) -> str:
    """Short: just now, 5 min ago, 3 h ago, then the date."""
    if value is None:
        return "never"
    seconds = (timezone.now() - value).total_seconds()
    if seconds < MINUTE_S:
        return "just now"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min ago"
    if seconds < DAY_S:
        return f"{int(seconds // HOUR_S)} h ago"
    return f"{value:%-d %b %Y}"


@register.filter
def plain(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


@register.filter
def unlocalized(value: Any) -> str:
    """A number as HTML attributes want it."""
    return str(value) if isinstance(value, int | float) else "0"


@register.filter
def pairs(value: Any) -> list[tuple[str, Any]]:
    """The items of a dict, whatever its keys are called."""
    return list(value.items()) if isinstance(value, dict) else []
