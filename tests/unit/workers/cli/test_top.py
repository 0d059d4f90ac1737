"""`freshet top`: frames, JSON lines and exit codes, with rows instead of services."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.errors import DependencyError
from workers import stages
from workers.cli.commands import top
from workers.config import settings

ROW = {
    "source": "s",
    "state": "active",
    "condition": "active",
    "why": "",
    "stands": "",
    "lag": 0,
    "records": 7,
    "texts_embedded": 2,
    "dead_lettered": 0,
    "dead_letters": 0,
    "documents": 5,
    "last_published_at": None,
    "last_batch": 3,
    "backfill": None,
}
Answer = list[dict[str, Any]] | Exception


class NoWatcher:
    """Temporal does not answer."""

    def __init__(self, _settings: Any) -> None: ...

    def __enter__(self) -> "NoWatcher":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What the database says at each look; the last answer is that of Ctrl-C."""

    def use(*given: Answer) -> None:
        waiting: Iterator[Answer] = iter(given)

        def read(*_: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
            answer = next(waiting, KeyboardInterrupt())
            if isinstance(answer, BaseException):
                raise answer
            return [dict(row) for row in answer], {}

        monkeypatch.setattr(top, "_read", read)
        monkeypatch.setattr(stages, "StageWatcher", NoWatcher)
        nowhere = SimpleNamespace(kafka_bootstrap="127.0.0.1:1", kafka_properties={})
        monkeypatch.setattr(settings, "load", lambda: nowhere)

    return use


def run(*, count: int = 0, as_json: bool = False) -> int:
    return top.top(interval=0.001, count=count, as_json=as_json)


def test_as_many_looks_as_were_asked_for(
    answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers([ROW], [ROW | {"records": 9}], [ROW])
    assert run(count=2, as_json=True) == 0
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rates = [look["sources"][0]["records_per_second"] for look in looks]
    assert len(rates) == 2
    assert rates[0] is None
    assert rates[1] > 0


def test_ctrl_c_is_the_ordinary_end(
    answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers([ROW])
    assert run() == 0
    assert "sources: 1, of which 0 need attention" in capsys.readouterr().out


def test_a_halted_source_is_shown_with_its_reason_and_fails(
    answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers([ROW | {"condition": "halted", "why": "a gap\x1b[31m"}])
    assert run(count=1) == 1
    shown = capsys.readouterr().out
    assert "s is halted: a gap" in shown
    assert "\x1b" not in shown


def test_a_lost_database_is_named_and_the_sources_stay(
    answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers([ROW], DependencyError("PostgreSQL does not answer"))
    assert run(count=2, as_json=True) == 3
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["problem"] == "PostgreSQL does not answer"
    assert last["sources"][0]["source"] == "s"


def test_it_goes_on_when_the_database_is_back(
    answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(DependencyError("PostgreSQL does not answer"), [ROW])
    assert run(count=2) == 0
    assert "not up to date: PostgreSQL does not answer" in capsys.readouterr().out


def test_without_a_source_it_says_how_to_make_one(
    answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers([])
    assert run(count=1) == 0
    assert "`freshet apply FILE` creates those of a file" in capsys.readouterr().out


def test_a_terminal_shows_as_many_sources_as_it_has_room_for(
    answers: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(top, "_room", lambda: 3)
    answers([ROW | {"source": f"s{number}"} for number in range(9)])
    run(count=1)
    shown = capsys.readouterr().out
    assert "s2" in shown
    assert "s3" not in shown
    assert "sources that are not shown: 6" in shown


def test_a_backfill_is_a_line_below_the_sources(
    answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    row = ROW | {"backfill": {"sentence": "backfill 3 of s runs"}}
    answers([row, ROW | {"source": "t"}])
    run(count=1)
    assert "backfill 3 of s runs" in capsys.readouterr().out
    answers([row])
    run(count=1, as_json=True)
    [line] = json.loads(capsys.readouterr().out)["sources"]
    assert line["backfill"] == "backfill 3 of s runs"
