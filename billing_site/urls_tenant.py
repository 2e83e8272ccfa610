"""URLs of the shared schema: health, and the platform operators' site."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
