"""The pages of runs that were: their list, and two of them side by side."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from chains.comparison import compared
from chains.drawing import RUN_WORDS
from chains.history import SORTS, listed, without_hidden_templates
from chains.models import Run, Template
from chains.serializers import RunFilters
from registry.pages import PageRequest, first_sentence, paginate

TEMPLATES_OFFERED = 200
SORT_WORDS = {
    "newest": "newest first",
    "oldest": "oldest first",
    "longest": "longest first",
    "shortest": "shortest first",
}
KIND_WORDS = {Run.Kind.CHAT: "from a conversation", Run.Kind.CHAIN: "executed"}


@login_required
@require_GET
def runs(request: PageRequest) -> HttpResponse:
    """The list; htmx gets the part that changes."""
    typed = {name: value for name, value in request.GET.items() if value and name in RunFilters().fields}
    filters = RunFilters(data=typed)
    chosen: Mapping[str, Any] = filters.validated_data if filters.is_valid() else {}
    own = Run.objects.owned_by(request.user)
    ordering = SORTS[chosen.get("sort", "newest")]
    page = paginate(request, listed(own, chosen).select_related("template"), ordering)
    without_hidden_templates(page.items, request.user)
    context = {
        "page": page,
        "typed": typed,
        "refused": [f"{name}: {first_sentence(said)}" for name, said in filters.errors.items()],
        "is_narrowed": bool(typed.keys() - {"sort"}),
        "is_first_visit": not page.items and not own.exists(),
        "templates": Template.objects.visible_to(request.user).order_by("name").only("name")[:TEMPLATES_OFFERED],
        "statuses": RUN_WORDS.items(),
        "kinds": KIND_WORDS.items(),
        "sorts": SORT_WORDS.items(),
        "can_compare": "template" in chosen and len(page.items) > 1,
    }
    is_fragment = request.htmx and not request.htmx.history_restore_request
    return render(request, f"chains/runs.html{'#found' if is_fragment else ''}", context)


@login_required
@require_GET
def runs_compared(request: PageRequest) -> HttpResponse:
    """`?run=…&run=…`: the earlier one on the left, whichever was named first."""
    ids = [each for name in request.GET.getlist("run")[:10] if (each := _uuid(name))]
    found = Run.objects.owned_by(request.user).filter(pk__in=ids).select_related("template")
    pair = without_hidden_templates(found.prefetch_related("tool_runs").order_by("created_at", "id"), request.user)
    if len(pair) < len(set(ids)):
        raise Http404("You have no such run.")
    if len(pair) != 2:
        messages.error(request, "Choose two runs to compare them.")
        template = f"?template={pair[0].template_id}" if pair and pair[0].template_id else ""
        return redirect(f"/runs{template}")
    return render(request, "chains/compare.html", {"comparison": compared(*pair)})


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
