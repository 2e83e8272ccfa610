"""The customer portal."""

from django.urls import path

from apps.portal import limits, sign_in, views

app_name = "portal"
urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/", sign_in.sign_in, name="sign_in"),
    path("sign-in/sent/", sign_in.sent, name="sent"),
    path("sign-in/link/<str:token>/", sign_in.open_link, name="open_link"),
    path("sign-out/", sign_in.sign_out, name="sign_out"),
    path("customer/", views.choose_posted, name="choose"),
    path("limits/", limits.limits, name="limits"),
    path("limits/caps/", limits.cap_add_posted, name="cap_add"),
    path("limits/caps/<str:reference>/<str:verb>/", limits.cap_decide_posted, name="cap_decide"),
    path("invoices/", views.invoices, name="invoices"),
    path("invoices/<str:reference>/", views.invoice, name="invoice"),
    path("invoices/<str:reference>/pdf/", views.invoice_pdf, name="invoice_pdf"),
    path("invoices/<str:reference>/lines/<str:line_reference>/", views.line, name="line"),
    path("invoices/<str:reference>/lines/<str:line_reference>/events.csv", views.line_events, name="line_events"),
]
