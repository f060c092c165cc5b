"""What every answer tells a browser it may do with it."""

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import django_rq
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

# No inline script or style anywhere: whatever a server's text smuggles into a page stays text.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # images that tools return are shown inline
        "font-src 'self'",
        "connect-src 'self'",  # event streams and the websocket
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"  # a file that a tool made is nothing but data
PERMISSIONS_POLICY = ", ".join(
    f"{name}=()"
    for name in ("camera", "microphone", "geolocation", "payment", "usb", "serial", "bluetooth", "display-capture")
)
EVERY_ANSWER: dict[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": PERMISSIONS_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": settings.X_FRAME_OPTIONS,
}
QUEUES_PATH = "/admin/django-rq/"
PRIVATE = "no-store"  # neither a proxy nor the browser of the next one to sit there keeps it


@cache
def queues_policy() -> str:
    """The pages of django-rq bring style of their own: exactly that is let through, known by its hash."""
    templates = (Path(django_rq.__file__).parent / "templates").rglob("*.html")
    styles = {style for each in templates for style in re.findall(r"<style>(.*?)</style>", each.read_text(), re.S)}
    hashes = [base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in sorted(styles)]
    allowed = " ".join(["style-src 'self'", *(f"'sha256-{each}'" for each in hashes)])
    return CONTENT_SECURITY_POLICY.replace("style-src 'self'", allowed)


class HeadersMiddleware:
    """Outermost and, like the others, for threads: errors and static files are covered too."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        told = response.headers
        if response.status_code >= 400 and isinstance(response, HttpResponse):
            told.setdefault("Content-Length", str(len(response.content)))  # refused before a middleware counts it
        if told.get("Content-Disposition", "").startswith("attachment"):
            told.setdefault("Content-Security-Policy", FILE_POLICY)
        if request.path_info.startswith(QUEUES_PATH):
            told.setdefault("Content-Security-Policy", queues_policy())
        if "Access-Control-Allow-Origin" not in told:  # what anybody's page may read is no secret
            told.setdefault("Cache-Control", PRIVATE)
        if settings.SECURE_HSTS_SECONDS and request.is_secure():
            told.setdefault("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}")
        for name, value in EVERY_ANSWER.items():
            told.setdefault(name, value)
        return response
