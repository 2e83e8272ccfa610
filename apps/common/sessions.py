"""What a session remembers besides who it is: by which door the person came in.

A mailed link proves a mailbox and opens the portal. It does not open the back office, where a password is asked,
even for a person who has both.
"""

from django.http import HttpRequest

_SIGNED_IN_BY = "signed_in_by"
_LINK = "link"


def signed_in_by_link(request: HttpRequest) -> bool:
    """Return whether this session was begun by a mailed link."""
    return bool(request.session.get(_SIGNED_IN_BY) == _LINK)


def link_remember(request: HttpRequest) -> None:
    """Note that this session was begun by a mailed link."""
    request.session[_SIGNED_IN_BY] = _LINK
