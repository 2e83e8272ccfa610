"""What can go wrong with mails."""


class MailNotSent(Exception):
    """
    The mail server did not take a mail; the row keeps its reason.

    Not a `DomainError`: those are final to the relay, and a mail server that is down today answers tomorrow.
    """
