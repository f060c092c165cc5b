"""The ASGI application: HTTP to Django, websockets to Channels."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpregistry.settings")
django_application = get_asgi_application()  # sets Django up: what follows needs its app registry

from chains.routing import websocket_urlpatterns  # noqa: E402
from mcpregistry.websockets import guarded  # noqa: E402
from registry import embeddings  # noqa: E402

embeddings.load_in_background()

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": guarded(URLRouter(websocket_urlpatterns)),
    }
)
