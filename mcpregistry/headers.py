"""What every answer tells a browser it may do with it."""

from collections.abc import Callable

from django.http import HttpRequest
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
FILE_POLICY = "default-src 'none'; sandbox"  # a file that a tool made is nothing but data
SHOWS_SECRETS = "/account"  # a new token, recovery codes, the key of an authenticator app: no browser keeps them
PERMISSIONS_POLICY = ", ".join(
    f"{name}=()"
    for name in ("camera", "microphone", "geolocation", "payment", "usb", "serial", "bluetooth", "display-capture")
)


class HeadersMiddleware:
    """Outermost and, like the others, for threads: errors and static files are covered too."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_file = response.headers.get("Content-Disposition", "").startswith("attachment")
        response.headers.setdefault("Content-Security-Policy", FILE_POLICY if is_file else CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if request.path_info.startswith(SHOWS_SECRETS):
            response.headers["Cache-Control"] = "no-store"
        return response
