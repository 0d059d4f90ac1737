"""The character type of the local database: the first of Unicode that the system has."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from compose.local.parts import postgres_locale as module
from compose.local.parts.postgres_locale import FALLBACK, character_type, initdb_options


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    character_type.cache_clear()
    yield
    character_type.cache_clear()


def offer(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """A system with these locales."""

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 0 if command[-1] in names else 1)

    monkeypatch.setattr(module.subprocess, "run", run)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("en_US.UTF-8", "C.UTF-8"), "C.UTF-8"),
        (("en_US.UTF-8",), "en_US.UTF-8"),
        (("UTF-8",), "UTF-8"),
        ((), FALLBACK),
    ],
)
def test_the_first_that_the_system_has(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], chosen: str
) -> None:
    offer(monkeypatch, *names)
    assert character_type() == chosen


def test_the_order_is_by_code_point_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "en_US.UTF-8")
    assert {"--locale=C", "--lc-ctype=en_US.UTF-8"} < set(initdb_options())
    character_type.cache_clear()
    offer(monkeypatch)
    assert initdb_options() == ["--locale=C"]
