"""The platform operators' site."""

from django.urls import path

from apps.backoffice.operators import operators_site

urlpatterns = [path("", operators_site.urls)]
