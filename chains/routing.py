from django.urls import path, re_path

from chains.consumers import Nowhere, RunConsumer

websocket_urlpatterns = [path("ws/runs/<uuid:run_id>", RunConsumer.as_asgi()), re_path("", Nowhere.as_asgi())]
