"""The one table of what staff may do, and who may do it."""

from django.db.models import Model
from django.urls import reverse

from apps.backoffice.buttons import (
    agreements,
    billing,
    corrections,
    late_usage,
    operations,
    quarantine,
    subscriptions,
    watching,
)
from apps.backoffice.buttons.base import Button, Offer, Outcome, Press
from apps.identity.models import User

BUTTONS: dict[str, Button] = {
    button.name: button
    for module in (billing, subscriptions, agreements, late_usage, corrections, quarantine, operations, watching)
    for button in module.BUTTONS
}

__all__ = ["BUTTONS", "Button", "Offer", "Outcome", "Press", "offers_for_list", "offers_for_record"]


def offers_for_record(*, user: User, record: Model) -> list[Offer]:
    """Return the buttons of a row that its state and the user's roles allow."""
    return [
        Offer(title=button.title, url=reverse("admin:press", args=[button.name, record.pk]), is_grave=button.is_grave)
        for button in BUTTONS.values()
        if not button.is_on_list
        and isinstance(record, button.model)
        and user.has_perm(button.permission)
        and button.is_offered(record)
    ]


def offers_for_list(*, user: User, model: type[Model]) -> list[Offer]:
    """Return the buttons of a list that the user's roles allow."""
    return [
        Offer(title=button.title, url=reverse("admin:press_list", args=[button.name]), is_grave=button.is_grave)
        for button in BUTTONS.values()
        if button.is_on_list and button.model is model and user.has_perm(button.permission)
    ]
