"""Read the process environment once, typed, and fail fast.

Every variable the product understands is a field of `Environment`; nothing else in the project reads `os.environ`.
`python -m billing_site.env` prints the table below.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta


class EnvironmentInvalid(Exception):
    """Some variables are missing or wrong; the message lists all of them, one a line."""


class Environment(msgspec.Struct, kw_only=True, frozen=True, rename=lambda name: name.upper()):
    """The product's settings as the environment gives them. Field name in capitals = variable name."""

    secret_key: Annotated[
        str, Meta(min_length=32, description="Signs sessions and keys hashes of API keys; 32 characters or more.")
    ]
    database_url: Annotated[
        str,
        Meta(
            pattern=r"^postgres(ql)?://",
            description="PostgreSQL 15 or newer, direct or session-pooled: postgresql://user:password@host:5432/name "
            "(a Unix socket folder as ?host=/folder).",
        ),
    ]
    celery_broker_url: Annotated[
        str,
        Meta(description="Celery's broker: pgmq:// (the same PostgreSQL), redis://... or amqp://..."),
    ] = "pgmq://"
    celery_broker_dsn: Annotated[
        str, Meta(description="libpq connection string of the pgmq broker; empty means the one of DATABASE_URL.")
    ] = ""
    debug: Annotated[bool, Meta(description="Django's debug pages and relaxed cookies; never in production.")] = False
    base_domain: Annotated[
        str, Meta(min_length=1, description="Tenants live at <slug>.<base domain>; operators at the base domain.")
    ] = "localhost"
    public_port: Annotated[
        int, Meta(ge=0, le=65535, description="Port shown in links of mails and summaries; 0 leaves it out.")
    ] = 8000
    is_https: Annotated[bool, Meta(description="Served behind TLS: secure cookies, HSTS, https links.")] = False
    local_dir: Annotated[
        str, Meta(min_length=1, description="Folder for data of this machine: mails in development, logs, spool.")
    ] = ".local"
    email_url: Annotated[
        str,
        Meta(
            pattern=r"^(file|smtp|smtps)://",
            description="file:// writes mails to LOCAL_DIR/mail; smtp://user:password@host:587 or "
            "smtps://...:465 sends.",
        ),
    ] = "file://"
    email_from: Annotated[str, Meta(min_length=3, description="Sender of mails.")] = "billing@countinghouse.localhost"
    payment_gateway: Annotated[
        str, Meta(pattern="^(sandbox)$", description="Gateway that charges: sandbox (the only one so far).")
    ] = "sandbox"
    invoice_grace_hours: Annotated[
        int, Meta(ge=0, le=720, description="Default hours a cycle draft waits for late usage before it is final.")
    ] = 24
    usage_loss_alert_bps: Annotated[
        int, Meta(ge=1, le=10000, description="Alert when a source misses more than this share; 200 are two percent.")
    ] = 200
    usage_delay_alert_seconds: Annotated[
        int,
        Meta(ge=1, description="Alert when events come later: 1, 5, 30, 60, 300, 900, 3600, 21600 or 86400."),
    ] = 300
    usage_clock_alert_seconds: Annotated[
        int, Meta(ge=1, le=3600, description="Alert when a source's clock runs further ahead of ours than this.")
    ] = 120
    access_decisions_sampled: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Of the checks that are allowed, one in so many is recorded.")
    ] = 100
    throttled_rate_percent: Annotated[
        int, Meta(ge=1, le=99, description="What a caller above a limit that throttles is asked to slow down to.")
    ] = 25
    usage_retention_months: Annotated[
        int, Meta(ge=15, le=1200, description="Whole months that raw events stay in the database; then they are filed.")
    ] = 25
    usage_archive_dir: Annotated[
        str, Meta(description="Folder for archived events, shared by all processes; empty: LOCAL_DIR/usage-archive.")
    ] = ""
    replica_url: Annotated[
        str, Meta(pattern=r"^(postgres(ql)?://.*)?$", description="A read replica that reports may read; empty: none.")
    ] = ""
    prometheus_multiproc_dir: Annotated[
        str, Meta(description="Folder in which processes add up their metrics; empty it at each start. Empty: none.")
    ] = ""
    metrics_token: Annotated[
        str, Meta(description="Bearer token for /metrics; empty: /metrics is open and names no tenant.")
    ] = ""
    log_level: Annotated[
        str, Meta(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Lowest level written to the log.")
    ] = "INFO"
    db_max_age_seconds: Annotated[int, Meta(ge=0, description="How long a database connection is kept open.")] = 600


def read(environ: Mapping[str, str]) -> Environment:
    """
    Convert the environment into typed settings.

    :raises EnvironmentInvalid: naming every variable that is missing or wrong, with what it is for
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(Environment):
        name = field.encode_name
        text = environ.get(name, "")
        if text == "":
            if field.required:
                problems.append(f"{name} is not set. {describe(field)}")
            continue
        try:
            values[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            problems.append(f"{name} is wrong: {error}. {describe(field)}")
    if problems:
        raise EnvironmentInvalid("The environment does not describe a working set-up:\n  " + "\n  ".join(problems))
    return Environment(**values)


def describe(field: msgspec.structs.FieldInfo) -> str:
    """Return the one-sentence meaning of a variable."""
    meta = msgspec.inspect.type_info(field.type)
    extra = getattr(meta, "extra_json_schema", None) or {}
    return str(extra.get("description", ""))


def table() -> list[tuple[str, str, str]]:
    """Return (variable, default or 'required', meaning) for each setting, in declaration order."""
    return [
        (field.encode_name, "required" if field.required else repr(field.default), describe(field))
        for field in msgspec.structs.fields(Environment)
    ]


if __name__ == "__main__":
    import sys

    for name, default, meaning in table():
        sys.stdout.write(f"{name:24} {default:40} {meaning}\n")
