"""Staff sign in by e-mail and password; who guesses is slowed down."""

from typing import Any, cast

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.forms import AuthenticationForm

from apps.common import attempts
from apps.identity.models import User

TRIES_MAX = 10
WINDOW_SECONDS = 15 * 60


def staff_of(request: HttpRequest) -> User:
    """Return who is signed in; the sites let nobody else come this far."""
    return cast(User, request.user)


class StaffSignInForm(AuthenticationForm):
    """The theme's form, which refuses to check passwords for an address that was tried too often."""

    def clean(self) -> dict[str, Any]:
        """Check the password, unless too many were tried."""
        email = (self.cleaned_data.get("username") or "").strip().lower()
        # Counted by address and not by network: a guesser has many networks and one victim.
        if email and not attempts.attempt_allow(key=f"staff:{email}", limit=TRIES_MAX, window_seconds=WINDOW_SECONDS):
            raise ValidationError(
                "Too many tries for this address. Wait a quarter of an hour, then try again.", code="too_many_tries"
            )
        cleaned: dict[str, Any] = super().clean()
        attempts.attempts_forget(key=f"staff:{email}")
        return cleaned
