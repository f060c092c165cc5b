from django.urls import URLPattern, path

from chat import api, streams, views

api_urlpatterns: list[URLPattern] = [
    path("chat", api.ChatView.as_view(), name="chat"),
    path("chat/<uuid:conversation_id>", api.ConversationView.as_view(), name="conversation"),
    path("chat/<uuid:run_id>/inputs", api.InputsView.as_view(), name="chat_inputs"),
    path("chat/<uuid:id>/stream", streams.stream, name="chat_stream"),
]
page_urlpatterns: list[URLPattern] = [
    path("", views.workspace, name="workspace"),
    path("say", views.say, name="say"),
    path("turns/<uuid:run_id>", views.turn, name="turn"),
    path("turns/<uuid:run_id>/inputs", views.turn_inputs, name="turn_inputs"),
    path("conversations/<uuid:pk>/delete", views.conversation_delete, name="conversation_delete"),
]
urlpatterns = api_urlpatterns + page_urlpatterns
