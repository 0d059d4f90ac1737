"""Puts the table of settings into workers/README.md: `python -m workers.config.settings_table`."""

from pathlib import Path

from workers.config.settings import SETTINGS, Setting

README = Path(__file__).resolve().parents[1] / "README.md"
_BEGIN = "<!-- settings: made by `python -m workers.config.settings_table` -->\n"
_END = "<!-- end of settings -->\n"


def table() -> str:
    """The settings as a Markdown table."""
    lines = ["| name | default | what it is |", "| --- | --- | --- |"]
    lines += [_line(setting) for setting in SETTINGS]
    return "\n".join(lines) + "\n"


def _line(setting: Setting) -> str:
    default = f"`{setting.default}` {setting.unit}".strip() if setting.default else ""
    secret = " (secret)" if setting.secret else ""
    text = setting.help.replace("|", "/")
    return f"| `{setting.name}` | {default} | {text}{secret} |"


def with_table(text: str) -> str:
    """The README with its table as it should be.

    Raises:
        ValueError: the marks around the table are missing.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{README} has no lines {_BEGIN!r} and {_END!r}")
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
