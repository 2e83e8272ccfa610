"""The order of apps, read from where it is enforced."""

import configparser

from tests.contracts.source import ROOT


def levels() -> dict[str, int]:
    """Return each app's level: a higher number stands nearer to the edge; equal numbers may not know each other."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    lines = parser["importlinter:contract:walk"]["layers"].strip().splitlines()
    return {name.strip(" ()"): len(lines) - number for number, line in enumerate(lines) for name in line.split("|")}
