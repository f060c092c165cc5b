"""The ASGI application: HTTP to Django, websockets to Channels."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

from mcpregistry import metrics

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpregistry.settings")
metrics.count_together()
django_application = get_asgi_application()  # sets Django up: what follows needs its app registry

from chains.routing import websocket_urlpatterns  # noqa: E402
from mcpregistry.draining import DrainingApplication, drain_on_signals  # noqa: E402
from mcpregistry.tracing import TracedApplication  # noqa: E402
from registry import embeddings  # noqa: E402

embeddings.load_in_background()

routed = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
draining = DrainingApplication(routed)
drain_on_signals(draining)
application = TracedApplication(draining)
