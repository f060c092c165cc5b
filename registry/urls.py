from django.urls import URLPattern, path

from registry import api

api_urlpatterns: list[URLPattern] = [
    path("registry", api.ServerList.as_view(), name="api_servers"),
    path("registry/<str:server>", api.ServerDetail.as_view(), name="api_server"),
    path("registry/<str:server>/tools", api.ServerTools.as_view(), name="api_server_tools"),
    path("registry/<str:server>/connection", api.ServerConnection.as_view(), name="api_server_connection"),
    path("registry/<str:server>/healthcheck", api.healthcheck, name="api_server_healthcheck"),
]
page_urlpatterns: list[URLPattern] = []
urlpatterns = api_urlpatterns + page_urlpatterns
