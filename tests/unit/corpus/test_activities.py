"""Activity shells: names on the wire, heartbeats, translated errors."""

import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from corpus import activities
from corpus.activities import EmbedActivities, PrepareActivities, PublishActivities
from corpus.batch import PrepareRequest, StagedFile
from corpus.errors import DependencyError, PositionGapError, TimeSliceUsedError
from tests.support.polling import wait_until


def shells(step: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    """Every activity of the corpus's steps, by the name that it must keep."""
    publishing = PublishActivities(step, step, step)
    return {
        "corpus.prepare": PrepareActivities(step).prepare,
        "corpus.embed": EmbedActivities(step).embed,
        "corpus.publish": publishing.publish,
        "corpus.load_source": publishing.load_source,
        "corpus.rewind_source": publishing.rewind_source,
    }


NAMES = sorted(shells(lambda _: None))


@pytest.fixture
def environment() -> ActivityEnvironment:
    return ActivityEnvironment()


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_has_the_name_that_histories_hold(name: str) -> None:
    definition = activity._Definition.must_from_callable(shells(lambda _: None)[name])
    assert definition.name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_hands_over_its_input_and_the_result(
    environment: ActivityEnvironment, name: str
) -> None:
    shell = shells(lambda request: ("did", request))[name]
    assert environment.run(shell, "request") == ("did", "request")


def test_a_slice_of_time_leaves_its_progress_and_is_no_failure(
    environment: ActivityEnvironment,
) -> None:
    before, after = (
        StagedFile(url=url, sha256="", rows=1, file_bytes=1) for url in ("before", "after")
    )
    request = PrepareRequest(source="s", batch=1, refs=())
    heartbeats: list[Any] = []

    def prepare(request: PrepareRequest) -> None:
        assert request.progress == before
        raise TimeSliceUsedError("1 of 2 documents are prepared", details=(after,))

    environment.info = replace(environment.info, heartbeat_details=[asdict(before)])
    environment.on_heartbeat = lambda *details: heartbeats.append(details)
    with pytest.raises(ApplicationError, match="1 of 2 documents") as raised:
        environment.run(PrepareActivities(prepare).prepare, request)  # type: ignore[arg-type]
    assert heartbeats[-1] == (after,)
    assert raised.value.category is ApplicationErrorCategory.BENIGN
    assert not raised.value.non_retryable
    assert raised.value.next_retry_delay


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("error", "permanent"),
    [(PositionGapError("a gap"), True), (DependencyError("no answer"), False)],
    ids=["permanent", "transient"],
)
def test_an_error_of_ours_says_whether_to_retry(
    environment: ActivityEnvironment, name: str, error: Exception, permanent: bool
) -> None:
    def step(_: Any) -> Any:
        raise error

    with pytest.raises(ApplicationError) as raised:
        environment.run(shells(step)[name], "request")
    assert raised.value.type == type(error).__name__
    assert raised.value.non_retryable is permanent
    assert raised.value.__cause__ is error


def test_a_mistake_of_the_program_stays_what_it_is(environment: ActivityEnvironment) -> None:
    def step(_: Any) -> Any:
        raise KeyError("x")

    with pytest.raises(KeyError):
        environment.run(shells(step)["corpus.publish"], "request")


def heartbeat_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "heartbeats"]


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_heartbeats_come_while_the_step_runs_and_end_with_it(
    environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(activities, "HEARTBEAT_SECONDS", 0.01)
    beats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: beats.append(details)

    def step(_: Any) -> Any:
        wait_until(lambda: len(beats) >= 3)
        if fails:
            raise DependencyError("no answer")

    try:
        environment.run(shells(step)["corpus.embed"], "request")
    except ApplicationError:
        assert fails
    assert heartbeat_threads() == []
    assert beats[0] == ()


def test_a_heartbeat_of_embedding_says_how_long_the_model_was_silent(
    environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities, "HEARTBEAT_SECONDS", 0.01)
    beats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    silences = iter(range(70, 1_000))

    def step(_: Any) -> Any:
        wait_until(lambda: len(beats) >= 2)

    embedding = EmbedActivities(step, lambda: next(silences))
    environment.run(embedding.embed, "request")
    assert beats[:2] == [({"silent_seconds": 70},), ({"silent_seconds": 71},)]
