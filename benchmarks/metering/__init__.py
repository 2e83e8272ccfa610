"""Metering, measured: exactly once, over HTTP, under limits, in reading, and in growth."""
