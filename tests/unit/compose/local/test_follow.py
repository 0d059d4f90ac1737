"""How `up` follows: it waits for its own request, reports each change once, and does not wait for what cannot come."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compose.local import follow as module
from compose.local.follow import MAX_RESTARTS, UpResult, follow
from compose.local.machine.process import ProcessId, current_process
from compose.local.parts.part import PartState, PartStatus
from compose.local.state import StackFile, add_request, write_stack
from corpus.errors import DependencyError
from tests.support.polling import wait_until

GONE = ProcessId(2**22 + 1, 1.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)


def write(
    home: Path,
    *statuses: PartStatus,
    request: int = 1,
    supervisor: ProcessId | None = None,
) -> None:
    """Be the supervisor: write stack.json."""
    stack = StackFile(
        supervisor=supervisor or current_process(),
        request=request,
        addresses={"kafka_bootstrap": "127.0.0.1:21000"},
        parts={status.name: status for status in statuses},
    )
    write_stack(home, stack)


def outcome(
    home: Path,
    *names: str,
    timeout: float = 5,
    ended: Callable[[], bool] | None = None,
    on_change: Callable[[PartStatus], None] = lambda _status: None,
) -> UpResult:
    return follow(home, names, on_change=on_change, timeout=timeout, ended=ended)


def part(name: str, state: PartState, **values) -> PartStatus:
    return PartStatus(name=name, state=state, **values)


@pytest.mark.parametrize("state", [PartState.READY, PartState.EXTERNAL, PartState.DONE])
def test_usable_parts_are_ready(tmp_path: Path, state: PartState) -> None:
    add_request(tmp_path, ["kafka"], fresh=True)
    write(tmp_path, part("kafka", state), part("other", PartState.FAILED))
    result = outcome(tmp_path, "kafka")
    assert result.ready
    assert result.addresses == {"kafka_bootstrap": "127.0.0.1:21000"}
    assert list(result.failures) == []


def test_a_file_from_before_our_request_counts_for_nothing(tmp_path: Path) -> None:
    add_request(tmp_path, ["kafka"], fresh=True)
    add_request(tmp_path, ["kafka"], fresh=True)
    write(tmp_path, part("kafka", PartState.FAILED), request=1)
    result = outcome(tmp_path, "kafka", timeout=0.1)
    assert not result.ready
    assert list(result.failures) == []
    write(tmp_path, part("kafka", PartState.READY), request=3)  # a later request includes ours
    assert outcome(tmp_path, "kafka").ready


def test_a_part_that_failed_ends_the_wait_at_once(tmp_path: Path) -> None:
    add_request(tmp_path, ["kafka", "postgres"], fresh=True)
    failed = part("kafka", PartState.FAILED, error="port 1 is taken")
    write(tmp_path, failed, part("postgres", PartState.STARTING))
    result = outcome(tmp_path, "kafka", "postgres", timeout=60)
    assert [status.error for status in result.failures] == ["port 1 is taken"]


@pytest.mark.parametrize(
    ("restarts", "error", "hopeless"),
    [
        (MAX_RESTARTS, "ended", True),
        (MAX_RESTARTS - 1, "ended", False),
        (MAX_RESTARTS + 5, "", False),  # it is being started again: the error was cleared
    ],
)
def test_a_part_that_restarts_again_and_again_is_hopeless(
    tmp_path: Path, restarts: int, error: str, hopeless: bool
) -> None:
    add_request(tmp_path, ["kafka"], fresh=True)
    write(tmp_path, part("kafka", PartState.RESTARTING, restarts=restarts, error=error))
    began = time.monotonic()
    result = outcome(tmp_path, "kafka", timeout=0.3)
    assert [status.name for status in result.failures] == ["kafka"]
    assert (time.monotonic() - began < 0.3) is hopeless


def test_after_the_timeout_the_parts_that_wait_are_named(tmp_path: Path) -> None:
    add_request(tmp_path, ["kafka", "postgres"], fresh=True)
    write(tmp_path, part("kafka", PartState.READY), part("postgres", PartState.WAITING))
    result = outcome(tmp_path, "kafka", "postgres", timeout=0.1)
    assert [status.name for status in result.failures] == ["postgres"]
    assert outcome(tmp_path, "kafka", timeout=0).ready


def test_each_change_is_reported_once(tmp_path: Path) -> None:
    add_request(tmp_path, ["kafka"], fresh=True)
    changes: list[tuple[str, str, int]] = []
    results: list[UpResult] = []

    def record(status: PartStatus) -> None:
        changes.append((str(status.state), status.note, status.restarts))

    write(tmp_path, part("kafka", PartState.WAITING), part("other", PartState.STARTING))
    thread = threading.Thread(
        target=lambda: results.append(outcome(tmp_path, "kafka", on_change=record))
    )
    thread.start()
    for number, status in enumerate(
        [
            part("kafka", PartState.STARTING, note="installing"),
            part("kafka", PartState.STARTING, note="preparing"),
            part("kafka", PartState.READY),
        ],
        2,
    ):
        wait_until(lambda number=number: len(changes) == number - 1, 5)
        write(tmp_path, part(status.name, status.state, note=status.note, restarts=number))
    thread.join(5)
    assert results[0].ready
    assert changes == [
        ("waiting", "", 0),
        ("starting", "installing", 2),
        ("starting", "preparing", 3),
        ("ready", "", 4),
    ]


def test_a_supervisor_that_ended_ends_the_wait(tmp_path: Path) -> None:
    add_request(tmp_path, ["kafka"], fresh=True)
    write(tmp_path, part("kafka", PartState.STARTING))
    results: list[UpResult] = []
    thread = threading.Thread(target=lambda: results.append(outcome(tmp_path, "kafka", timeout=30)))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    write(tmp_path, part("kafka", PartState.STARTING), supervisor=GONE)
    thread.join(5)
    assert [status.name for status in results[0].failures] == ["kafka"]


def test_a_supervisor_in_this_process_is_followed_by_its_own_sign(tmp_path: Path) -> None:
    add_request(tmp_path, ["kafka"], fresh=True)
    write(tmp_path, part("kafka", PartState.STARTING))
    result = outcome(tmp_path, "kafka", timeout=60, ended=lambda: True)
    assert not result.ready


def test_a_supervisor_that_never_appears_is_an_error_with_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_START_SECONDS", 0.05)
    add_request(tmp_path, ["kafka"], fresh=True)
    with pytest.raises(DependencyError, match=r"did not start: it wrote nothing; see .*supervisor"):
        outcome(tmp_path, "kafka")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "supervisor.log").write_text("Traceback\nImportError: no psutil\n")
    with pytest.raises(DependencyError, match=r"Traceback \| ImportError: no psutil"):
        outcome(tmp_path, "kafka")
