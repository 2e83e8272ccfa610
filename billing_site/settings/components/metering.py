"""Defaults of what is watched and kept of usage; each tenant may set its own (`apps/metering/watching.py`)."""

from pathlib import Path

from billing_site.settings.components.environment import ENV, LOCAL_DIR

USAGE_LOSS_ALERT_BPS = ENV.usage_loss_alert_bps
USAGE_DELAY_ALERT_SECONDS = ENV.usage_delay_alert_seconds
USAGE_CLOCK_ALERT_SECONDS = ENV.usage_clock_alert_seconds
USAGE_RETENTION_MONTHS = ENV.usage_retention_months
USAGE_ARCHIVE_DIR = Path(ENV.usage_archive_dir).resolve() if ENV.usage_archive_dir else LOCAL_DIR / "usage-archive"

ACCESS_DECISIONS_SAMPLED = ENV.access_decisions_sampled
THROTTLED_RATE_PERCENT = ENV.throttled_rate_percent

# With a token, whoever scrapes must present it and is told about each tenant; without one, no tenant is named.
METRICS_TOKEN = ENV.metrics_token
# The library looks for the folder when it is first imported, and writes one file per process into it.
METRICS_DIR = ENV.prometheus_multiproc_dir
if METRICS_DIR:
    Path(METRICS_DIR).mkdir(parents=True, exist_ok=True)
