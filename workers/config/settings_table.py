"""Puts the table of settings into workers/README.md: `python -m workers.config.settings_table`."""

from pathlib import Path

from workers.config.settings import SETTINGS

README = Path(__file__).resolve().parents[1] / "README.md"
_BEGIN = "<!-- settings: made by `python -m workers.config.settings_table` -->\n"
_END = "<!-- end of settings -->\n"


def table() -> str:
    """The settings as a Markdown table."""
    lines = ["| name | default | what it is |", "| --- | --- | --- |"]
    for setting in SETTINGS:
        default = f"`{setting.default}`" if setting.default else ""
        secret = " (secret)" if setting.secret else ""
        lines.append(f"| `{setting.name}` | {default} | {setting.help.replace('|', '/')}{secret} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """The README with its table as it should be.

    Raises:
        ValueError: the marks around the table are not there.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{README} has no lines {_BEGIN!r} and {_END!r}")
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
