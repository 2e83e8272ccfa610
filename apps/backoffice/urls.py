"""A tenant's finance admin."""

from django.urls import path

from apps.backoffice.site import backoffice_site

urlpatterns = [path("", backoffice_site.urls)]
