from django.urls import URLPattern, path

from chat import api, streams, views

api_urlpatterns: list[URLPattern] = [
    path("chat", api.ChatView.as_view(), name="chat"),
    path("chat/<uuid:conversation_id>", api.ConversationView.as_view(), name="conversation"),
    path("chat/<uuid:run_id>/inputs", api.InputsView.as_view(), name="chat_inputs"),
    path("chat/<uuid:run_id>/plan", api.ApprovePlanView.as_view(), name="chat_plan"),
    path("chat/<uuid:conversation_id>/stop", api.StopView.as_view(), name="chat_stop"),
    path("chat/<uuid:conversation_id>/export", api.ExportView.as_view(), name="chat_export"),
    path("chat/messages/<uuid:message_id>/edit", api.EditView.as_view(), name="chat_edit"),
    path("chat/messages/<uuid:message_id>/regenerate", api.RegenerateView.as_view(), name="chat_regenerate"),
    path("chat/<uuid:id>/stream", streams.stream, name="chat_stream"),
]
page_urlpatterns: list[URLPattern] = [
    path("", views.workspace, name="workspace"),
    path("say", views.say, name="say"),
    path("turns/<uuid:run_id>", views.turn, name="turn"),
    path("turns/<uuid:run_id>/inputs", views.turn_inputs, name="turn_inputs"),
    path("turns/<uuid:run_id>/plan", views.turn_plan, name="turn_plan"),
    path("messages/<uuid:pk>/edit", views.message_edit, name="message_edit"),
    path("messages/<uuid:pk>/regenerate", views.message_regenerate, name="message_regenerate"),
    path("commands", views.commands, name="commands"),
    path("conversations", views.conversations, name="conversations"),
    path("conversations/<uuid:pk>/change", views.conversation_change, name="conversation_change"),
    path("conversations/<uuid:pk>/delete", views.conversation_delete, name="conversation_delete"),
]
urlpatterns = api_urlpatterns + page_urlpatterns
