"""Collect usage events where they happen and send them to a tenant; see `__main__.py`."""
