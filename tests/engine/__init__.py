"""Tests of the pure core: golden tables, properties and refusals; no database, no settings, no clock."""
