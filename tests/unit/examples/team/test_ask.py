"""The example team's command line, and where it finds Temporal."""

import json
from pathlib import Path

import pytest

from corpus.answer.requests import await_problem, search_problem
from corpus.service import AwaitFreshResponse, SearchHit, SearchResponse, WaitOutcome
from examples.team.ask import lines, parser, question
from examples.team.connect import home, temporal_address
from examples.team.workflows import Answer, Question

HIT = SearchHit(
    source="peps", document_id="pep-1", version=2, text="wheels " * 100, score=0.5, batch=3
)
MISSED = AwaitFreshResponse(reached=False, why=WaitOutcome.TIMEOUT, detail="batch 3 is not there")


def asked(*arguments: str) -> Question:
    return question(parser().parse_args(["wheels", "--source", "peps", *arguments]))


@pytest.mark.parametrize(
    "target",
    [
        ("--batch", "3"),
        ("--document-id", "pep-1", "--version", "2"),
        ("--topic", "peps", "--partition", "0", "--offset", "7"),
        ("--time-ms", "0"),
    ],
    ids=lambda target: target[0],
)
def test_each_target_is_a_wait_that_the_corpus_accepts(target: tuple[str, ...]) -> None:
    made = asked("--timeout", "5", *target)
    assert made.wait_for is not None
    assert made.wait_for.timeout_seconds == 5
    assert await_problem(made.wait_for) is None
    assert search_problem(made.search) is None


def test_without_a_target_nothing_is_waited_for() -> None:
    assert asked().wait_for is None


def test_hits_have_one_line_each() -> None:
    shown = lines(Answer(waited=None, found=SearchResponse(hits=(HIT, HIT))))
    assert len(shown) == 2
    assert shown[0].startswith("0.500  pep-1 v2 (batch 3)  wheels wheels")
    assert len(shown[0]) < 200


def test_a_wait_that_missed_its_target_shows_why() -> None:
    assert lines(Answer(waited=MISSED, found=None)) == ["timeout: batch 3 is not there"]


def test_the_address_is_in_stack_json(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    with pytest.raises(
        SystemExit, match=r"set TEMPORAL_ADDRESS, or start a local stack .*stack\.json"
    ):
        temporal_address(path)
    path.write_text(json.dumps({"addresses": {"temporal_address": "127.0.0.1:7233"}}))
    assert temporal_address(path) == "127.0.0.1:7233"


def test_the_local_stack_has_the_folder_that_is_configured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("FRESHET_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert home() == tmp_path / "state" / "freshet"
