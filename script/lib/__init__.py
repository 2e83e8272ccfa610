"""What the commands share: the embedded PostgreSQL, the supervisor, the runner of checks."""
