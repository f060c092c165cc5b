"""Every address of the product. Each app lists its own API and pages; paths work with and without a trailing slash."""

from allauth.account.decorators import secure_admin_login
from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from mcpregistry import accounts, health
from mcpregistry.metrics.views import metrics

admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # one way in, for everybody

urlpatterns = [
    path("", include("chat.urls")),
    path("", include("chains.urls")),
    path("", include("registry.urls")),
    path("signin/<str:uid>/<str:token>", accounts.sign_in, name="sign_in"),
    path("account", accounts.account, name="account"),
    path("accounts/", include("allauth.urls")),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}favicon.svg")),  # the admin names none
    path("healthz", health.healthz, name="healthz"),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("admin/django-rq/", include("django_rq.urls")),
    path("admin/", admin.site.urls),
]
