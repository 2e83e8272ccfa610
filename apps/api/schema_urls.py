"""What the OpenAPI document describes: the API under its public path, whatever else a host serves."""

from django.urls import include, path

urlpatterns = [path("api/v1/", include("apps.api.urls"))]
