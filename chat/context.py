"""What every page's sidebar shows: conversations, saved templates, and whether a model is connected."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from chains.models import Template
from chat.models import Conversation

SIDEBAR_ROWS = 30


def workspace(request: HttpRequest) -> dict[str, Any]:
    """Lazy querysets: a page that does not draw the sidebar does not ask the database."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or request.path_info.startswith("/admin/"):
        return {}
    return {
        "sidebar_conversations": Conversation.objects.owned_by(user)[:SIDEBAR_ROWS],
        "sidebar_templates": Template.objects.visible_to(user)[:SIDEBAR_ROWS],
        "llm_provider": settings.LLM_PROVIDER,
    }
