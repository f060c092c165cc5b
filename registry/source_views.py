"""The Sources page, for staff: what each catalogue brought, its schedule, and reading it now."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from registry.models import CatalogueSource, ImportRun, SourceRecord
from registry.pages import PageRequest
from registry.source_forms import SourceForm
from registry.sources import SCHEDULED, queue_import, save_source, source_named

View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Card:
    source: CatalogueSource
    run: ImportRun | None  # the newest
    listed: int  # records it lists now
    form: SourceForm


def for_staff(view: View) -> View:
    @login_required
    @wraps(view)
    def wrapped(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
        if not getattr(request.user, "is_staff", False):
            raise PermissionDenied("Only staff see where servers come from.")
        return view(request, *args, **kwargs)

    return wrapped


@for_staff
@require_GET
def sources(request: PageRequest) -> HttpResponse:
    return _page(request)


def _page(request: PageRequest, refused: SourceForm | None = None) -> HttpResponse:
    stored = {source.name: source for source in CatalogueSource.objects.all()}
    runs = {run.source: run for run in ImportRun.objects.newest_of_each()}
    counts = dict(SourceRecord.objects.live().order_by().values_list("source").annotate(Count("pk")))
    cards = []
    for name in SCHEDULED:
        source = stored.get(name) or CatalogueSource(name=name)
        form = refused if refused is not None and refused.source.name == name else SourceForm(source)
        cards.append(Card(source, runs.get(name), counts.get(name, 0), form))
    others = [(name, count) for name, count in sorted(counts.items()) if name not in SCHEDULED]
    context = {"cards": cards, "others": others, "files": runs.get("file")}
    return render(request, "registry/sources.html", context, status=400 if refused is not None else 200)


@for_staff
def source(request: PageRequest, name: str) -> HttpResponse:
    """GET: how its import goes, the part of the page that moves. POST: its schedule, address and key."""
    if name not in SCHEDULED:
        raise Http404("There is no such catalogue.")
    if request.method != "POST":
        return _status(request, name) if request.htmx else redirect("sources")
    form = SourceForm(source_named(name), request.POST)
    if not form.is_valid():
        return _page(request, form)
    save_source(name=name, **form.told)
    messages.success(request, "Saved.")
    return redirect("sources")


@for_staff
@require_POST
def source_import(request: PageRequest, name: str) -> HttpResponse:
    if name not in SCHEDULED:
        raise Http404("There is no such catalogue.")
    run = queue_import(source=name)
    return _status(request, name, run) if request.htmx else redirect("sources")


def _status(request: PageRequest, name: str, run: ImportRun | None = None) -> HttpResponse:
    run = run or ImportRun.objects.filter(source=name).first()
    listed = SourceRecord.objects.live().filter(source=name).count()
    card = Card(source_named(name), run, listed, SourceForm(source_named(name)))
    return render(request, "registry/sources.html#status", {"card": card})
