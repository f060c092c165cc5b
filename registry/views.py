"""Pages of servers: find one, add one, look at it, authorise it."""

from typing import Any, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST
from rest_framework.exceptions import APIException

from registry import services
from registry.changes import digest_of
from registry.commands import fingerprint, is_confirmed, line_of
from registry.facets import PAGE_SORTS, Address, choices, chosen_filters, facets_of_hits, facets_of_list, orders_of_list
from registry.filters import filter_servers
from registry.forms import FORMS, POLICY_WORDS, AuthoriseForm, ServerForm
from registry.healthchecks import check_now
from registry.history import history_of
from registry.models import Connection, HealthCheck, ImportRun, Server, Tool
from registry.ordering import SORTS, ordered
from registry.pages import PageRequest, message_of, paginate, refusal, says_errors
from registry.search import ServerHit, search_servers
from registry.sharing_pages import shared_by_form, sharing_of, with_sharing
from registry.signing_in import sign_in_of
from registry.snippets import snippets_of
from registry.tool_lists import Asked, tool_list, waiting

SEARCH_HITS = 50
AUTHORISED_SHOWN = 10
REMOVED_SHOWN = 30
KINDS = [("url", "A web address"), ("command", "A command"), ("openapi", "An OpenAPI document")]


def visible_server(request: PageRequest, name: str) -> Server:
    visible = Server.objects.visible_to(request.user).select_related("owner", "team")
    found = visible.named(name).with_connection_of(request.user).first()
    if found is None:
        raise Http404("There is no such server.")
    return found


@login_required
@require_GET
def servers(request: PageRequest) -> HttpResponse:
    """The list, or with `?q=` what search finds; htmx gets the part that changes."""
    q = request.GET.get("q", "").strip()
    chosen = chosen_filters(request.GET.dict())
    sort = request.GET.get("sort", "")
    address = Address(request.path, chosen, q, sort if sort in PAGE_SORTS else "")
    context = _found(request, q, chosen, address) if q else _listed(request, chosen, address)
    context |= {"q": q, "kept": list(chosen.items()), "chosen": choices(chosen, address)}
    is_fragment = request.htmx and not request.htmx.history_restore_request
    return render(request, f"registry/servers.html{'#catalogue' if is_fragment else ''}", context)


def _found(request: PageRequest, q: str, chosen: dict[str, str], address: Address) -> dict[str, Any]:
    result = search_servers(q, user=request.user, filters=chosen, limit=SEARCH_HITS)
    facets = facets_of_hits([hit.server for hit in result.hits], chosen, address)
    with_sharing(hit.server for hit in result.hits)
    return {"servers": result.hits, "result": result, "facets": facets}


def _listed(request: PageRequest, chosen: dict[str, str], address: Address) -> dict[str, Any]:
    visible = Server.objects.visible_to(request.user).with_connection_of(request.user)
    sort = address.sort or next(iter(PAGE_SORTS))
    found = ordered(filter_servers(visible, chosen, request.user), sort)
    page = paginate(request, found, SORTS[sort])
    is_start = not chosen and not address.sort and "cursor" not in request.GET and page.next is not None
    authorised = list(visible.connected_by(request.user).order_by("name")[:AUTHORISED_SHOWN]) if is_start else []
    with_sharing([*page.items, *authorised])
    return {
        "authorised": [ServerHit(server, 0.0, [], "") for server in authorised],
        "servers": [ServerHit(server, 0.0, [], "") for server in page.items],
        "count": page.count,
        "next": page.next,
        "sorts": orders_of_list(address),
        "facets": facets_of_list(request.user, chosen, address),
        "imports": ImportRun.objects.order_by("source", "-started_at").distinct("source"),
    }


def may_add_commands(user: User) -> bool:
    return user.is_staff and settings.STDIO_SERVERS != "off"


@login_required
def server_new(request: PageRequest) -> HttpResponse:
    kind = request.GET.get("kind", "url")
    if kind not in dict(kinds_for(request.user)):
        kind = "url"
    form = FORMS[kind](request.POST or None)
    if request.method == "POST" and form.is_valid():
        server = _added(request, form)
        if server is not None:
            return redirect("server", server.slug)
    return new_page(request, form, kind, status=400 if form.errors else 200)


def kinds_for(user: User) -> list[tuple[str, str]]:
    return [(name, words) for name, words in KINDS if name != "command" or may_add_commands(user)]


def new_page(request: PageRequest, form: ServerForm, kind: str, status: int, paste: Any = None) -> HttpResponse:
    """`paste`: what was pasted and understood, see registry/paste_views.py."""
    context = {"form": form, "kinds": kinds_for(request.user), "chosen_kind": kind, "paste": paste}
    return render(request, "registry/new.html", context, status=status)


def _added(request: PageRequest, form: ServerForm) -> Server | None:
    """The new server, or the one there is; None with the reason at its field."""
    try:
        server = services.add_server(owner=request.user, **form.told)
    except services.AddressRefused as error:
        form.add_error(error.field if error.field in form.fields else None, error.message)
        return None
    except services.DuplicateServer as error:
        messages.warning(request, f"{error} This is its page.")
        return error.existing
    messages.success(request, "Added. Test its connection to see which tools it has.")
    return server


@login_required
@require_GET
def server(request: PageRequest, name: str) -> HttpResponse:
    """The page, or for htmx the list of its tools."""
    found = visible_server(request, name)
    if request.htmx and not request.htmx.history_restore_request:
        return render(request, "registry/_tools.html", tools_context(found, request.user, Asked.of(request)))
    return server_page(request, found)


def server_page(request: PageRequest, server: Server, form: AuthoriseForm | None = None) -> HttpResponse:
    context = server_context(server, request.user, form, Asked.of(request))
    return render(request, "registry/server.html", context, status=400 if form is not None else 200)


def server_tested(request: HttpRequest, pk: UUID, user: User) -> HttpResponse:
    """What a test of the connection found: the parts of the server's page that it changes."""
    server = Server.objects.with_connection_of(user).get(pk=pk)
    return render(request, "registry/_tested.html", server_context(server, user))


def tools_context(server: Server, user: User, asked: Asked) -> dict[str, Any]:
    connection = Connection.objects.filter(user=user, server=server).first()
    return {
        "server": server,
        "connection": connection,
        "tools": tool_list(server, connection, asked),
        "removed": server.tools.exclude(removed_at=None).order_by("-removed_at")[:REMOVED_SHOWN],
    }


def server_context(
    server: Server, user: User, form: AuthoriseForm | None = None, asked: Asked | None = None
) -> dict[str, Any]:
    context = tools_context(server, user, asked or Asked())
    connection = context["connection"]
    return context | {
        "history": history_of(server),
        "form": form or AuthoriseForm(server, connection),
        "check": newest_check(server, user, connection),
        "sources": server.source_records.filter(removed_at=None).values_list("source", flat=True).distinct(),
        "policies": [("", "as below"), *((policy.value, words) for policy, words in POLICY_WORDS.items())],
        "sign_in": sign_in_of(server, user),
        "is_own": server.owner_id == user.pk,
        "unconfirmed": None if is_confirmed(server) else {"line": line_of(server), "fingerprint": fingerprint(server)},
        "sharing": sharing_of(server, user),
        "snippets": snippets_of(server),
    }


def newest_check(server: Server, user: User, connection: Connection | None) -> HealthCheck | None:
    """The one that says most to this user: their own, where it speaks for the server."""
    shared = HealthCheck.objects.shared().filter(server=server).first()
    own = HealthCheck.objects.filter(server=server, user=user).first()
    if own is None or shared is None:
        return own or shared
    speaks = connection.speaks_for(server) if connection else own.checked_at >= shared.checked_at
    return own if speaks else shared


@login_required
@require_POST
async def server_test(request: PageRequest, name: str) -> HttpResponse:
    """The test for a browser without JavaScript: the page waits, then shows what was found."""
    user = cast(User, await request.auser())
    server = await sync_to_async(visible_server)(request, name)
    try:
        await check_now(server, user)
    except APIException as error:
        return refusal(request, message_of(error), error.status_code)
    return redirect("server", server.slug)


@login_required
@require_POST
@says_errors(services.MayNotStart, services.ChangedCommand)
def server_confirm(request: PageRequest, name: str) -> HttpResponse:
    """Let the command be started that the page showed (`command`, its fingerprint)."""
    server = visible_server(request, name)
    services.confirm_command(user=request.user, server=server, shown=request.POST.get("command", ""))
    messages.success(request, "Confirmed. Test its connection to see which tools it has.")
    return redirect("server", server.slug)


@login_required
@require_POST
def server_authorise(request: PageRequest, name: str) -> HttpResponse:
    """What was typed is kept on the page when something about it is wrong, but for credentials."""
    server, user = visible_server(request, name), request.user
    connection = Connection.objects.filter(user=user, server=server).first()
    form = AuthoriseForm(server, connection, request.POST)
    if not form.is_valid():
        return server_page(request, server, form)
    try:
        services.authorise(user=user, server=server, tools=form.chosen_tools, approval=form.approval)
        services.keep_credentials(user=user, server=server, credentials=form.credentials)
    except (services.UnknownTools, services.MayNotStart) as error:
        form.add_error("scope", str(error))
        return server_page(request, server, form)
    messages.success(request, f"Authorised. Your plans may use {server} now.")
    return redirect("server", server.slug)


@login_required
@require_POST
@says_errors(services.NotConnected, services.UnknownTools, services.ChangedAgain)
def server_accept(request: PageRequest, name: str) -> HttpResponse:
    """Accept one tool (`tool`, as `hash`), or all that the page showed (`digest`)."""
    server = visible_server(request, name)
    seen: dict[str, str | None]
    if "tool" in request.POST:
        seen = {request.POST["tool"]: request.POST.get("hash", "")}
    else:
        seen = shown_changes(server, request.user, request.POST.get("digest", ""))
    count = services.accept_tools(user=request.user, server=server, seen=seen)
    messages.success(request, f"Accepted: {count} tool{'' if count == 1 else 's'}. Your plans may use them.")
    return redirect(f"{server.get_absolute_url()}#tools")


def shown_changes(server: Server, user: User, digest: str) -> dict[str, str | None]:
    """Raises ChangedAgain when the page showed something else."""
    connection = Connection.objects.valid().filter(user=user, server=server).first()
    changes = waiting(Tool.objects.filter(server=server).present(), connection)
    pending = [change for change in changes.values() if change.kind != Tool.Change.HELD]
    if digest_of(changes.values()) != digest:
        raise services.ChangedAgain([change.tool.name for change in pending] or ["A tool"])
    return {change.tool.name: change.tool.schema_hash for change in pending}


@login_required
@require_POST
def server_revoke(request: PageRequest, name: str) -> HttpResponse:
    server = visible_server(request, name)
    services.revoke(user=request.user, server=server)
    messages.success(request, "Revoked. Its tools are out of your plans, and its credentials are deleted.")
    return redirect("server", server.slug)


@login_required
@require_POST
@says_errors(services.MayNotShare)
def server_share(request: PageRequest, name: str) -> HttpResponse:
    server = visible_server(request, name)
    shared_by_form(request, server)
    still_seen = Server.objects.visible_to(request.user).filter(pk=server.pk).exists()
    return redirect("server", server.slug) if still_seen else redirect("servers")


@login_required
@require_POST
def server_delete(request: PageRequest, name: str) -> HttpResponse:
    server = visible_server(request, name)
    if server.owner_id != request.user.pk:
        raise Http404("There is no such server of yours.")
    services.delete_server(server=server)
    messages.success(request, f"{server} is deleted.")
    return redirect("servers")
