"""The one reading of the environment that all components share."""

import os
import sys
from pathlib import Path

from billing_site import env

try:
    ENV = env.read(os.environ)
except env.EnvironmentInvalid as error:
    # A sentence instead of a stack trace: the reader of this message is an operator, not a developer.
    sys.exit(f"{error}\n`python -m billing_site.env` lists every variable; `script/server` sets them all by itself.")

LOCAL_DIR = Path(ENV.local_dir).resolve()
