"""Celery: a message is a wake-up call, the row in the database is the work (ADR 0005)."""

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from billing_site.settings.components.beat import BEAT_SCHEDULE
from billing_site.settings.components.environment import ENV

# A message not acknowledged within this time is delivered again, so every task must be shorter.
_VISIBILITY_SECONDS = 900

CELERY_BROKER_URL = ENV.celery_broker_url
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {
        # In keyword form: the queue's client does not read a socket folder from a URL.
        "conn_string": ENV.celery_broker_dsn or make_conninfo("", **conninfo_to_dict(ENV.database_url)),
        "init_extension": False,
        "visibility_timeout": _VISIBILITY_SECONDS,
        "wait_time_seconds": 10,
        "poll_interval_ms": 50,
        "polling_interval": 0.1,
    }
    if ENV.celery_broker_url.startswith("pgmq://")
    else {"visibility_timeout": _VISIBILITY_SECONDS}
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
# A killed child must not lose its message; acks_late alone does lose it.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = _VISIBILITY_SECONDS // 2
CELERY_TASK_SOFT_TIME_LIMIT = _VISIBILITY_SECONDS // 2 - 30
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_TASK_DEFAULT_QUEUE = "countinghouse"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Nobody commands workers from afar here, and the queue has no broadcast to do it with.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE
