"""The generated part of README.md. `python -m tests.contracts.readme_blocks` rewrites it."""

from billing_site import env
from tests.contracts.source import ROOT

README = ROOT / "README.md"
_BEGIN = "<!-- environment: generated, see tests/contracts/readme_blocks.py -->\n"
_END = "<!-- end of environment -->\n"


def environment_table() -> str:
    """Return the table of variables as Markdown."""
    rows = [f"| `{name}` | {_default(default)} | {_escaped(meaning)} |" for name, default, meaning in env.table()]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows]) + "\n"


def _escaped(text: str) -> str:
    # `<slug>` would be taken for a tag and vanish.
    return text.replace("<", "&lt;").replace("|", "\\|")


def _default(text: str) -> str:
    return text if text == "required" else "empty" if text == "''" else f"`{text.strip(chr(39))}`"


def written() -> str:
    """Return what the README has between the two marks."""
    _before, _begin, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    return rest.partition(_END)[0]


def write() -> None:
    """Put the table between the two marks."""
    before, begin, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    _old, end, after = rest.partition(_END)
    README.write_text(before + begin + environment_table() + end + after, encoding="utf-8")


if __name__ == "__main__":
    write()
