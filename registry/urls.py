from django.urls import URLPattern, path

from registry import (
    api,
    oauth_api,
    oauth_views,
    paste_views,
    search_api,
    source_views,
    subregistry_api,
    trials_api,
    views,
)

api_urlpatterns: list[URLPattern] = [
    path("registry", api.ServerList.as_view(), name="api_servers"),
    path("registry/search", search_api.ServerSearchView.as_view(), name="api_server_search"),
    path("registry/tools/search", search_api.ToolSearchView.as_view(), name="api_tool_search"),
    path("registry/<str:server>", api.ServerDetail.as_view(), name="api_server"),
    path("registry/<str:server>/tools", api.ServerTools.as_view(), name="api_server_tools"),
    path("registry/<str:server>/tools/<path:tool>/accept", api.ToolAccept.as_view(), name="api_tool_accept"),
    path("registry/<str:server>/tools/<path:tool>/call", trials_api.call_tool, name="api_tool_call"),
    path("registry/<str:server>/connection", api.ServerConnection.as_view(), name="api_server_connection"),
    path("registry/<str:server>/oauth", oauth_api.ServerSignIn.as_view(), name="api_server_oauth"),
    path("registry/<str:server>/oauth/start", oauth_api.start, name="api_oauth_start"),
    path("registry/<str:server>/oauth/finish", oauth_api.finish, name="api_oauth_finish"),
    path("registry/<str:server>/healthcheck", api.healthcheck, name="api_server_healthcheck"),
    path("v0.1/servers", subregistry_api.servers, name="public_servers"),
    path("v0.1/servers/<path:name>/versions", subregistry_api.versions, name="public_versions"),
    path("v0.1/servers/<path:name>/versions/<str:version>", subregistry_api.version, name="public_version"),
]
page_urlpatterns: list[URLPattern] = [
    path("sources", source_views.sources, name="sources"),
    path("sources/<str:name>", source_views.source, name="source"),
    path("sources/<str:name>/import", source_views.source_import, name="source_import"),
    path("servers", subregistry_api.or_page(views.servers, subregistry_api.servers), name="servers"),
    path("servers/<path:name>/versions", subregistry_api.versions),
    path("servers/<path:name>/versions/<str:version>", subregistry_api.version),
    path("servers/new", views.server_new, name="server_new"),
    path("servers/new/paste", paste_views.server_paste, name="server_paste"),
    path("servers/<str:name>", views.server, name="server"),
    path("servers/<str:name>/try/<int:pk>", trials_api.tool_try, name="tool_try"),
    path("servers/<str:name>/test", views.server_test, name="server_test"),
    path("servers/<str:name>/authorise", views.server_authorise, name="server_authorise"),
    path("servers/<str:name>/accept", views.server_accept, name="server_accept"),
    path("servers/<str:name>/oauth/start", oauth_views.sign_in_start, name="oauth_start"),
    path("servers/<str:name>/oauth/forget", oauth_views.sign_in_forget, name="oauth_forget"),
    path("oauth/callback", oauth_views.callback, name="oauth_callback"),
    path("oauth/clients/<uuid:server>", oauth_views.client_document, name="oauth_client"),
    path("servers/<str:name>/revoke", views.server_revoke, name="server_revoke"),
    path("servers/<str:name>/delete", views.server_delete, name="server_delete"),
]
urlpatterns = api_urlpatterns + page_urlpatterns
