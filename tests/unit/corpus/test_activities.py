"""Activity shells: names on the wire, heartbeats, translated errors."""

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError
from temporalio.testing import ActivityEnvironment

from corpus import activities
from corpus.activities import EmbedActivities, Past, PrepareActivities, PublishActivities
from corpus.batch import EmbedRequest, PrepareRequest, StagedFile
from corpus.errors import (
    MAX_KILLS,
    MAX_MISTAKES,
    DependencyError,
    PositionGapError,
    TimeSliceUsedError,
)
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
TEXTS = StagedFile(url="f", sha256="0", rows=0, file_bytes=0)
PREPARE = PrepareRequest(source="s", batch=1, refs=())
EMBED = EmbedRequest(
    source="s", batch=1, texts=TEXTS, model="m", prefix="", space_id=1, space_fingerprint="f"
)
REQUESTS: dict[str, Any] = {"corpus.prepare": PREPARE, "corpus.embed": EMBED}


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
    request = REQUESTS.get(name, "request")
    assert environment.run(shell, request) == ("did", request)


BEFORE, AFTER = (
    StagedFile(url=url, sha256="", rows=1, file_bytes=1) for url in ("before", "after")
)


def carried(past: Past) -> list[Any]:
    """Details of the last heartbeat, as the next attempt gets them."""
    return [asdict(past)]


@pytest.mark.parametrize(
    ("details", "kills", "mistakes"),
    [
        ([asdict(BEFORE)], 0, 0),
        (carried(Past(progress=BEFORE)), 0, 0),
        (carried(Past(progress=BEFORE, kills=2, mistakes=MAX_MISTAKES - 1)), 2, MAX_MISTAKES - 1),
    ],
    ids=["of a version before", "no bad end", "bad ends"],
)
def test_a_slice_of_time_leaves_its_progress_and_is_no_failure(
    environment: ActivityEnvironment, details: list[Any], kills: int, mistakes: int
) -> None:
    beats: list[Any] = []

    def prepare(request: PrepareRequest) -> None:
        assert request.progress == BEFORE
        assert request.bad_ends == kills + mistakes
        raise TimeSliceUsedError("1 of 2 documents are prepared", details=(AFTER,))

    environment.info = replace(environment.info, attempt=70, heartbeat_details=details)
    environment.on_heartbeat = lambda *details: beats.append(details)
    with pytest.raises(ApplicationError, match="1 of 2 documents") as raised:
        environment.run(PrepareActivities(prepare).prepare, PREPARE)  # type: ignore[arg-type]
    while_running, left = (
        Past(kills=kills + 1, mistakes=mistakes, progress=BEFORE),
        Past(kills=kills, mistakes=mistakes, progress=AFTER),
    )
    assert beats == [(while_running,), (left,)]
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
        environment.run(shells(step)[name], REQUESTS.get(name, "request"))
    assert raised.value.type == type(error).__name__
    assert raised.value.non_retryable is permanent
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mistakes", range(MAX_MISTAKES))
def test_a_mistake_of_ours_is_tried_again_but_not_for_ever(
    environment: ActivityEnvironment, name: str, mistakes: int
) -> None:
    """Its message names the class and the place; what it says may be a document's text."""
    beats: list[Any] = []

    def step(_: Any) -> Any:
        raise KeyError("a text that nobody may read")

    past = Past(mistakes=mistakes, progress=BEFORE)
    environment.info = replace(environment.info, attempt=70, heartbeat_details=carried(past))
    environment.on_heartbeat = lambda *details: beats.append(details)
    with pytest.raises(ApplicationError) as raised:
        environment.run(shells(step)[name], REQUESTS.get(name, "request"))
    assert raised.value.type == "KeyError"
    assert raised.value.non_retryable is (mistakes + 1 == MAX_MISTAKES)
    place = "corpus/test_activities.py:[0-9]+"
    message = f"KeyError in {place} .error {mistakes + 1} of {MAX_MISTAKES}"
    assert re.match(message, raised.value.message)
    assert "text" not in raised.value.message
    assert beats[-1] == (replace(past, mistakes=mistakes + 1),)


class PanicError(BaseException):
    """As a library in Rust raises it."""


def test_a_panic_is_a_mistake_and_a_cancellation_is_none(environment: ActivityEnvironment) -> None:
    def panic(_: Any) -> Any:
        raise PanicError

    def cancelled(_: Any) -> Any:
        raise CancelledError("the worker stops")

    with pytest.raises(ApplicationError, match="PanicError in"):
        environment.run(shells(panic)["corpus.publish"], "request")
    with pytest.raises(CancelledError):
        environment.run(shells(cancelled)["corpus.publish"], "request")


@pytest.mark.parametrize(
    "details", [carried(Past(kills=MAX_KILLS)), [MAX_KILLS]], ids=["now", "of a version before"]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_that_is_always_killed_has_an_end(
    environment: ActivityEnvironment, name: str, details: list[Any]
) -> None:
    began: list[object] = []
    environment.info = replace(environment.info, heartbeat_details=details)
    with pytest.raises(ApplicationError, match=f"{MAX_KILLS} attempts ended") as raised:
        environment.run(shells(began.append)[name], REQUESTS.get(name, "request"))
    assert (raised.value.non_retryable, began) == (True, [])


@pytest.mark.parametrize("kills", [0, 2])
def test_an_attempt_counts_itself_until_it_ends_in_an_error(
    environment: ActivityEnvironment, kills: int
) -> None:
    beats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    details = carried(Past(kills=kills)) if kills else []
    environment.info = replace(environment.info, heartbeat_details=details)

    def step(_: Any) -> Any:
        assert beats == [(Past(kills=kills + 1),)]
        raise DependencyError("no answer")

    with pytest.raises(ApplicationError):
        environment.run(shells(step)["corpus.embed"], EMBED)
    assert beats == [(Past(kills=kills + 1),), (Past(kills=kills),)]


def test_progress_and_counts_outlive_a_kill(environment: ActivityEnvironment) -> None:
    """Each attempt gets what the last heartbeat carried; of one that is killed, that is its first one."""
    beats: list[Any] = []
    environment.on_heartbeat = beats.append
    seen: list[PrepareRequest] = []
    errors = {
        "slice": TimeSliceUsedError("a part", details=(AFTER,)),
        "mistake": KeyError(),
        "outage": DependencyError("no answer"),
    }

    def attempt(end: str) -> None:
        def step(request: PrepareRequest) -> None:
            seen.append(request)
            if end != "kill":
                raise errors[end]

        with suppress(ApplicationError):
            environment.run(PrepareActivities(step).prepare, PREPARE)  # type: ignore[arg-type]
        environment.info = replace(environment.info, heartbeat_details=carried(beats[-1]))

    ends = ["slice"] * MAX_MISTAKES + ["kill", "slice", "mistake", "outage", "kill", "slice"]
    for end in ends:
        attempt(end)
    assert beats[-1] == Past(kills=2, mistakes=1, progress=AFTER)
    assert {request.progress for request in seen[1:]} == {AFTER}
    assert [request.bad_ends for request in seen[MAX_MISTAKES:]] == [0, 1, 1, 2, 2, 3]


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
        environment.run(shells(step)["corpus.embed"], EMBED)
    except ApplicationError:
        assert fails
    assert heartbeat_threads() == []
    assert beats[0] == (Past(kills=1),)


def test_a_worker_that_has_ended_before_its_step_hears_nothing_more(
    environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop is closed; the thread of heartbeats ends, and the step goes on."""
    monkeypatch.setattr(activities, "HEARTBEAT_SECONDS", 0.01)
    beats: list[tuple[Any, ...]] = []

    def heard(*details: Any) -> None:
        beats.append(details)
        if len(beats) == 2:
            raise RuntimeError("Event loop is closed")

    environment.on_heartbeat = heard

    def step(_: Any) -> Any:
        wait_until(lambda: len(beats) == 2 and heartbeat_threads() == [])

    environment.run(shells(step)["corpus.embed"], EMBED)
    assert len(beats) == 2


def test_a_heartbeat_of_embedding_says_how_long_the_model_was_silent(
    environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities, "HEARTBEAT_SECONDS", 0.01)
    beats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    silences = iter(range(70, 1_000))

    def step(_: Any) -> Any:
        wait_until(lambda: len(beats) >= 3)

    embedding = EmbedActivities(step, lambda: next(silences))
    environment.run(embedding.embed, EMBED)
    past = Past(kills=1)
    assert beats[:3] == [
        (past,),
        (past, {"silent_seconds": 70}),
        (past, {"silent_seconds": 71}),
    ]


@pytest.mark.parametrize("details", [[], [{"silent_seconds": 70}], [carried(Past(mistakes=1))[0]]])
def test_how_long_a_model_was_silent_is_of_its_attempt_only(
    environment: ActivityEnvironment, details: list[Any]
) -> None:
    environment.info = replace(environment.info, heartbeat_details=details)
    beats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    environment.run(EmbedActivities(lambda _: None, lambda: 70).embed, EMBED)  # type: ignore[arg-type]
    [(past,)] = beats
    assert past.kills == 1
