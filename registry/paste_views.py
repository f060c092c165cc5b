"""“Add new MCP” from what was pasted: first what was understood, then, of what was chosen, the servers."""

from dataclasses import dataclass, field

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from registry import services
from registry.forms import FORMS
from registry.models import Server
from registry.pages import PageRequest
from registry.pasted import NotUnderstood, Understood, understand
from registry.views import may_add_commands, new_page

MAX_NAME_CHARACTERS = 255
URL_KINDS = [
    (Server.Transport.STREAMABLE_HTTP, "MCP over streamable HTTP"),
    (Server.Transport.SSE, "MCP over SSE"),
    (Server.Transport.OPENAPI, "OpenAPI document"),
]


@dataclass(slots=True)
class Row:
    """One server as the page shows it, with what was typed about it."""

    server: Understood
    name: str
    kind: str
    is_chosen: bool = True
    problem: str = ""
    may_add: bool = True


@dataclass(slots=True)
class Paste:
    text: str
    error: str = ""
    rows: list[Row] = field(default_factory=list)
    is_shared: bool = False
    kinds = URL_KINDS


@login_required
@require_POST
def server_paste(request: PageRequest) -> HttpResponse:
    """The button `look` shows what was understood, `add` stores what is ticked."""
    paste = Paste(request.POST.get("pasted", "").replace("\x00", ""), is_shared="shared" in request.POST)
    try:
        paste.rows = [_row(request, one) for one in understand(paste.text)]
    except NotUnderstood as reason:
        paste.error = str(reason)
    if not paste.rows or "add" not in request.POST:
        return _page(request, paste)
    chosen = [row for row in paste.rows if row.is_chosen and row.may_add]
    if not chosen:
        paste.error = "Choose at least one of them. If you changed the text, look at it again first."
        return _page(request, paste)
    added = [server for row in chosen if (server := _added(request, row, paste.is_shared))]
    paste.rows = [row for row in paste.rows if row.problem or row not in chosen]
    if any(row.problem for row in paste.rows):
        return _page(request, paste)
    return redirect("server", added[0].slug) if len(added) == 1 else redirect(f"{reverse('servers')}?owner=me")


def _page(request: PageRequest, paste: Paste) -> HttpResponse:
    is_wrong = paste.error or any(row.problem for row in paste.rows)
    return new_page(request, FORMS["url"](), "url", 400 if is_wrong else 200, paste)


def _row(request: PageRequest, one: Understood) -> Row:
    may_add = not one.is_command or may_add_commands(request.user)
    name = request.POST.get(f"name-{one.key}", "").strip()[:MAX_NAME_CHARACTERS]
    kind = request.POST.get(f"kind-{one.key}", "")
    kind = kind if kind in dict(URL_KINDS) else one.transport
    is_chosen = "add" not in request.POST or one.key in request.POST.getlist("chosen")
    return Row(one, name or one.name, kind, is_chosen, may_add=may_add)


def _added(request: PageRequest, row: Row, is_shared: bool) -> Server | None:
    """The new server, or the one there is; None with the reason in the row."""
    told = row.server.told(name=row.name, transport=row.kind)
    told["visibility"] = Server.Visibility.PUBLIC if is_shared else Server.Visibility.PRIVATE
    try:
        server = services.add_server(owner=request.user, **told)
    except (services.AddressRefused, services.MayNotStart) as error:
        row.problem = error.message
        return None
    except services.DuplicateServer as error:
        messages.warning(request, f"{error} This is its page.")
        return error.existing
    messages.success(request, f"{server} is added. Test its connection to see which tools it has.")
    return server
