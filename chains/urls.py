from django.urls import URLPattern, path

from chains import api, editor_views, history_views, template_api, template_views, views
from registry.pages import by_accept

api_urlpatterns: list[URLPattern] = [
    path("chain/execute", api.Execute.as_view()),
    path("chain/validate", api.Validate.as_view()),
    path("chain/runs", api.RunList.as_view()),
    path("chain/runs/<uuid:pk>", api.RunDetail.as_view(), name="api_run"),
    path("chain/runs/<uuid:pk>/events", api.RunEvents.as_view(), name="api_run_events"),
    path("chain/runs/<uuid:pk>/approve", api.RunApprove.as_view()),
    path("chain/runs/<uuid:pk>/reject", api.RunReject.as_view()),
    path("chain/runs/<uuid:pk>/resolve", api.RunResolve.as_view()),
    path("chain/runs/<uuid:pk>/cancel", api.RunCancel.as_view()),
    path("chain/runs/<uuid:pk>/retry", api.RunRetry.as_view()),
    path("chain/templates", api.TemplateList.as_view()),
    path("chain/templates/import", template_api.TemplateImport.as_view()),
    path("chain/templates/<uuid:pk>/export", template_api.TemplateExport.as_view(), name="api_template_export"),
    path("chain/templates/<uuid:pk>", api.TemplateDetail.as_view(), name="api_template"),
    path("results", by_accept(page=views.results, api=api.ResultList.as_view()), name="results"),
    path("results/<uuid:pk>", by_accept(page=views.result, api=api.ResultDetail.as_view()), name="result"),
    path("results/<uuid:pk>/file", api.ResultFile.as_view(), name="result_file"),
]
page_urlpatterns: list[URLPattern] = [
    path("runs", history_views.runs, name="runs"),
    path("runs/compare", history_views.runs_compared, name="runs_compared"),
    path("runs/<uuid:pk>", views.run, name="run"),
    path("runs/<uuid:pk>/cancel", views.run_cancel, name="run_cancel"),
    path("runs/<uuid:pk>/retry", views.run_retry, name="run_retry"),
    path("runs/<uuid:pk>/approve", views.run_approve, name="run_approve"),
    path("runs/<uuid:pk>/reject", views.run_reject, name="run_reject"),
    path("runs/<uuid:pk>/resolve", views.run_resolve, name="run_resolve"),
    path("runs/<uuid:pk>/execute", views.run_execute, name="run_execute"),
    path("runs/<uuid:pk>/template", views.template_new, name="template_new"),
    path("templates", views.templates, name="templates"),
    path("templates/new", editor_views.template_make, name="template_make"),
    path("templates/tools", editor_views.tools_found, name="tools_found"),
    path("templates/<uuid:pk>/edit", editor_views.template_edit, name="template_edit"),
    path("templates/import", template_views.template_import, name="template_import"),
    path("templates/<uuid:pk>/versions/<int:version>", template_views.template_version, name="template_version"),
    path(
        "templates/<uuid:pk>/versions/<int:version>/restore", template_views.template_restore, name="template_restore"
    ),
    path("templates/<uuid:pk>/schedule", template_views.template_schedule, name="template_schedule"),
    path("templates/<uuid:pk>/schedule/times", template_views.schedule_times, name="schedule_times"),
    path("templates/<uuid:pk>/duplicate", template_views.template_duplicate, name="template_duplicate"),
    path("templates/<uuid:pk>", views.template, name="template"),
    path("templates/<uuid:pk>/execute", views.template_execute, name="template_execute"),
    path("templates/<uuid:pk>/accept", views.template_accept, name="template_accept"),
    path("templates/<uuid:pk>/rename", views.template_rename, name="template_rename"),
    path("templates/<uuid:pk>/share", views.template_share, name="template_share"),
    path("templates/<uuid:pk>/delete", views.template_delete, name="template_delete"),
    path("results/<uuid:pk>/share", views.result_share, name="result_share"),
]
urlpatterns = api_urlpatterns + page_urlpatterns
