"""`GET /metrics`: for whoever brings METRICS_TOKEN, or for staff by session or API token."""

from hmac import compare_digest
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from mcpregistry.api import error_body
from mcpregistry.metrics.standing import Standing
from mcpregistry.tokens import ScopedTokenAuthentication


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not may_see(request):
        message = "Send METRICS_TOKEN as a bearer token, or a token of a staff user."
        return JsonResponse(
            error_body("not_authenticated", message), status=401, headers={"WWW-Authenticate": "Bearer"}
        )
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(settings.METRICS_DIR))  # type: ignore[no-untyped-call]
    registry.register(Standing())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def may_see(request: HttpRequest) -> bool:
    scheme, _, told = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        return bool(settings.METRICS_TOKEN) and compare_digest(told.encode(), settings.METRICS_TOKEN.encode())
    try:
        found = ScopedTokenAuthentication().authenticate(Request(request))
    except AuthenticationFailed:
        return False
    user: Any = found[0] if found else request.user
    return bool(user.is_active and user.is_staff)
