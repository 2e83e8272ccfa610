"""URLs of a tenant's host: API, back office, portal."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from apps.api import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("api/v1/", include("apps.api.urls")),
    path("backoffice/", include("apps.backoffice.urls")),
    path("portal/", include("apps.portal.urls")),
    path("", RedirectView.as_view(pattern_name="portal:home")),
]
