"""The ASGI application: HTTP to Django, websockets to Channels."""

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpregistry.settings")
django.setup()  # what follows needs its app registry

from chains.routing import websocket_urlpatterns  # noqa: E402
from mcpregistry import edge  # noqa: E402
from mcpregistry.handler import Handler  # noqa: E402
from mcpregistry.websockets import guarded  # noqa: E402
from registry import embeddings  # noqa: E402

edge.install()
embeddings.load_in_background()

application = ProtocolTypeRouter(
    {
        "http": Handler(),
        "websocket": guarded(URLRouter(websocket_urlpatterns)),
    }
)
