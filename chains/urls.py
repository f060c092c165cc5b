from django.urls import URLPattern, path

from chains import views

api_urlpatterns: list[URLPattern] = []
page_urlpatterns: list[URLPattern] = [
    path("runs", views.runs, name="runs"),
    path("runs/<uuid:pk>", views.run, name="run"),
    path("runs/<uuid:pk>/cancel", views.run_cancel, name="run_cancel"),
    path("runs/<uuid:pk>/retry", views.run_retry, name="run_retry"),
    path("runs/<uuid:pk>/approve", views.run_approve, name="run_approve"),
    path("runs/<uuid:pk>/reject", views.run_reject, name="run_reject"),
    path("runs/<uuid:pk>/execute", views.run_execute, name="run_execute"),
    path("runs/<uuid:pk>/template", views.template_new, name="template_new"),
    path("templates", views.templates, name="templates"),
    path("templates/<uuid:pk>", views.template, name="template"),
    path("templates/<uuid:pk>/execute", views.template_execute, name="template_execute"),
    path("templates/<uuid:pk>/rename", views.template_rename, name="template_rename"),
    path("templates/<uuid:pk>/delete", views.template_delete, name="template_delete"),
]
urlpatterns = api_urlpatterns + page_urlpatterns
