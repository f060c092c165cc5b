"""The ASGI application: HTTP to Django, websockets to Channels."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter

from mcpregistry import metrics

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpregistry.settings")
metrics.count_together()
django.setup()  # what follows needs its app registry

from chains.routing import websocket_urlpatterns  # noqa: E402
from mcpregistry import edge, garbage  # noqa: E402
from mcpregistry.draining import DrainingApplication, drain_on_signals  # noqa: E402
from mcpregistry.handler import Handler  # noqa: E402
from mcpregistry.tracing import TracedApplication  # noqa: E402
from mcpregistry.websockets import guarded  # noqa: E402
from registry import embeddings  # noqa: E402

garbage.collect_rarely()
edge.install()
embeddings.load_in_background()

routed = ProtocolTypeRouter(
    {
        "http": Handler(),
        "websocket": guarded(URLRouter(websocket_urlpatterns)),
    }
)
draining = DrainingApplication(routed)
drain_on_signals(draining)
application = TracedApplication(draining)
