"""URLs of the shared schema: health, and the platform operators' site."""

from django.urls import URLPattern, URLResolver, include, path

from apps.api import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("intakez", health.intakez),
    path("metrics", health.metrics),
    path("operators/", include("apps.backoffice.operators_urls")),
]
