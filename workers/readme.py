"""Puts the tables of roles, settings and sessions into workers/README.md: `python -m workers.readme`."""

from collections.abc import Sequence
from pathlib import Path

from corpus.sessions.settings import SETTINGS as PINNED
from corpus.sessions.settings import Setting as Pinned
from workers.config.settings import SETTINGS, Setting
from workers.roles.table import ROLES, Role

README = Path(__file__).resolve().parent / "README.md"
_MADE_BY = "made by `python -m workers.readme`"


def with_tables(text: str) -> str:
    """The README with its tables as they should be.

    Raises:
        ValueError: the marks around a table are missing.
    """
    text = _replaced(text, "roles", _roles())
    text = _replaced(text, "settings", _settings())
    return _replaced(text, "sessions", _sessions())


def _roles() -> list[str]:
    head = ("role", "task queue", "does", "install", "scales with", "needs")
    rule = ["---"] * len(head)
    return [
        _row(head),
        _row(rule),
        *(_role(role) for role in ROLES.values()),
    ]


def _role(role: Role) -> str:
    name = f"`{role.name}`"
    queue = ", ".join(f"`{name}`" for name in role.queues)
    install = f"`freshet[{role.install}]`"
    needs = ", ".join(role.needs)
    if role.at_times:
        needs += f"; at times {', '.join(role.at_times)}"
    return _row([name, queue, role.does, install, role.scales_with, needs])


def _settings() -> list[str]:
    head = ("name", "default", "what it is")
    return [
        _row(head),
        _row(["---"] * len(head)),
        *(_setting(setting) for setting in SETTINGS),
    ]


def _setting(setting: Setting) -> str:
    name = f"`{setting.name}`"
    default = f"`{setting.default}` {setting.unit}" if setting.default else ""
    return _row([name, default.strip(), setting.help + setting.note()])


def _sessions() -> list[str]:
    head = ("setting of a session", "value", "because")
    return [
        _row(head),
        _row(["---"] * len(head)),
        *(_pinned(setting) for setting in PINNED),
    ]


def _pinned(setting: Pinned) -> str:
    value = f"`{setting.value}`"
    if setting.instead_of:
        value = f"{value}, where it is `{setting.instead_of}`"
    if setting.needs_right:
        value = f"{value}, where the user may set it"
    return _row([f"`{setting.name}`", value, setting.why])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _replaced(text: str, table: str, lines: list[str]) -> str:
    begin = f"<!-- {table}: {_MADE_BY} -->\n"
    end = f"<!-- end of {table} -->\n"
    before, begin_mark, rest = text.partition(begin)
    _, end_mark, after = rest.partition(end)
    if not begin_mark or not end_mark:
        raise ValueError(f"{README} has no lines {begin!r} and {end!r}")
    body = "\n".join(lines)
    return f"{before}{begin}\n{body}\n\n{end}{after}"


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
