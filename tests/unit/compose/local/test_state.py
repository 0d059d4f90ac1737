"""Files of the state directory: damaged ones are named, files of other versions are read, requests are not lost."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.local import state
from compose.local.machine.process import ProcessId, current_process
from compose.local.parts.part import PartState, PartStatus
from compose.local.state import (
    Request,
    StackFile,
    StateFileError,
    add_request,
    read_request,
    read_stack,
    read_statuses,
    read_supervisor,
    recover_stack_file,
    remove_stack,
    write_stack,
)

WHOLE = """
{
  "home": "/home/ada/.local/state/freshet",
  "supervisor": {"pid": 4711, "started": 1764025200.25},
  "asked": 3,
  "addresses": {"kafka_bootstrap": "127.0.0.1:21000", "temporal_ui": ""},
  "ports": {"kafka": 21000},
  "parts": {
    "postgres": {
      "name": "postgres", "state": "ready", "pid": 4712, "started": 1764025201.5, "restarts": 0,
      "address": "127.0.0.1:20999", "version": "18.4", "took_seconds": 2.25, "note": "", "error": "",
      "log": "/home/ada/.local/state/freshet/logs/postgres.log", "stop_signal": 2, "grace_seconds": 30.0,
      "after": []
    },
    "migrations": {
      "name": "migrations", "state": "done", "pid": null, "started": null, "restarts": 0, "address": "",
      "version": "", "took_seconds": 0.5, "note": "up to date", "error": "", "log": "", "stop_signal": 15,
      "grace_seconds": 20.0, "after": ["postgres"]
    }
  }
}
"""
DAMAGED_STACKS = {
    "empty": "",
    "half": WHOLE[: len(WHOLE) // 2],
    "null": "null",
    "list": "[]",
    "text": '"stack"',
    "binary": "\x00\x01\x02",
    "parts are a list": '{"parts": []}',
    "part is a number": '{"parts": {"kafka": 1}}',
    "part without a name": '{"parts": {"kafka": {"state": "ready"}}}',
    "unknown state": '{"parts": {"kafka": {"name": "kafka", "state": "confused"}}}',
    "pid is text": '{"parts": {"kafka": {"name": "kafka", "pid": "12", "started": 1.0}}}',
    "pid of a process group": '{"parts": {"kafka": {"name": "kafka", "pid": -12, "started": 1.0}}}',
    "pid of every process": '{"supervisor": {"pid": -1, "started": 1.0}}',
    "pid too large": '{"supervisor": {"pid": 99999999999, "started": 1.0}}',
    "no such signal": '{"parts": {"kafka": {"name": "kafka", "stop_signal": 77}}}',
    "supervisor without a start": '{"supervisor": {"pid": 12}}',
    "address is a number": '{"addresses": {"kafka_bootstrap": 1}}',
}


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(WHOLE)
    stack = read_stack(tmp_path)
    assert stack.supervisor == ProcessId(4711, 1764025200.25)
    assert stack.request == 3
    assert stack.parts["postgres"].process == ProcessId(4712, 1764025201.5)
    assert stack.parts["postgres"].stop_signal.name == "SIGINT"
    assert stack.parts["migrations"].process is None
    assert stack.parts["migrations"].after == ["postgres"]


def test_what_is_written_has_the_names_of_the_first_version(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(WHOLE)
    write_stack(tmp_path, read_stack(tmp_path))
    assert json.loads((tmp_path / "stack.json").read_text()) == json.loads(WHOLE)
    assert (tmp_path / "stack.json").stat().st_mode & 0o077 == 0
    add_request(tmp_path, ["kafka"], fresh=True)
    request = json.loads((tmp_path / "wanted.json").read_text())
    assert request == {"asked": 1, "parts": ["kafka"]}


def test_fields_of_a_later_version_are_left_out_and_missing_ones_have_defaults(
    tmp_path: Path,
) -> None:
    later = {"schema": 9, "parts": {"kafka": {"name": "kafka", "cpu": [1, 2]}}, "asked": 4}
    (tmp_path / "stack.json").write_text(json.dumps(later))
    stack = read_stack(tmp_path)
    assert (stack.request, stack.supervisor) == (4, None)
    assert stack.parts["kafka"] == PartStatus(name="kafka")


def test_without_files_nothing_runs_and_nothing_is_requested(tmp_path: Path) -> None:
    assert read_stack(tmp_path) == StackFile()
    assert read_statuses(tmp_path) == {}
    assert read_supervisor(tmp_path) is None
    assert read_request(tmp_path) == Request(number=0, parts=[])
    remove_stack(tmp_path)


@pytest.mark.parametrize("text", DAMAGED_STACKS.values(), ids=DAMAGED_STACKS.keys())
def test_a_damaged_stack_file_is_named_with_its_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    for read in (read_stack, read_statuses, read_supervisor):
        with pytest.raises(StateFileError, match=r"stack\.json cannot be read: .*freshet down"):
            read(tmp_path)


def test_a_stack_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.json").mkdir()
    with pytest.raises(StateFileError, match=r"stack\.json cannot be read"):
        read_stack(tmp_path)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_any_bytes_are_either_read_or_refused(tmp_path: Path, content: bytes) -> None:
    for name, read in (("stack.json", read_stack), ("wanted.json", read_request)):
        (tmp_path / name).write_bytes(content)
        try:
            read(tmp_path)
        except StateFileError as error:
            assert name in str(error)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(WHOLE.strip()) - 1))
def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "stack.json").write_text(WHOLE.strip()[:cut])
    with pytest.raises(StateFileError):
        read_stack(tmp_path)


_NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
_STATUSES = st.builds(
    PartStatus,
    name=_NAMES,
    state=st.sampled_from(PartState),
    pid=st.none() | st.integers(1, 2**31 - 1),
    started=st.none() | st.floats(1.0, 1e12),
    restarts=st.integers(0, 10**6),
    error=_NAMES,
    after=st.lists(_NAMES, max_size=3),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.dictionaries(_NAMES, _STATUSES, max_size=4),
    addresses=st.dictionaries(_NAMES, _NAMES, max_size=3),
    number=st.integers(0, 2**40),
)
def test_what_is_written_is_read_back(
    tmp_path: Path, parts: dict[str, PartStatus], addresses: dict[str, str], number: int
) -> None:
    stack = StackFile(
        home="/h", supervisor=current_process(), request=number, addresses=addresses, parts=parts
    )
    write_stack(tmp_path, stack)
    assert read_stack(tmp_path) == stack


def test_the_supervisor_counts_only_while_it_runs(tmp_path: Path) -> None:
    me = current_process()
    write_stack(tmp_path, StackFile(supervisor=me))
    assert read_supervisor(tmp_path) == me
    write_stack(tmp_path, StackFile(supervisor=ProcessId(me.pid, me.started - 60)))
    assert read_supervisor(tmp_path) is None


def test_a_request_adds_to_the_one_before_unless_it_is_fresh(tmp_path: Path) -> None:
    assert add_request(tmp_path, ["postgres"], fresh=False) == Request(number=1, parts=["postgres"])
    added = add_request(tmp_path, ["kafka", "postgres"], fresh=False)
    assert added == Request(number=2, parts=["postgres", "kafka"])
    fresh = add_request(tmp_path, ["temporal"], fresh=True)
    assert read_request(tmp_path) == fresh == Request(number=3, parts=["temporal"])


def test_requests_at_once_are_all_counted_and_no_part_is_lost(tmp_path: Path) -> None:
    def request(name: str) -> None:
        for _ in range(10):
            add_request(tmp_path, [name], fresh=False)

    threads = [threading.Thread(target=request, args=(f"part-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    request_after = read_request(tmp_path)
    assert request_after.number == 40
    assert set(request_after.parts) == {f"part-{n}" for n in range(4)}


@pytest.mark.parametrize(
    "text", ["", "{", "null", '{"asked": "x"}', '{"asked": 2, "parts": "all"}']
)
def test_a_damaged_request_is_named_and_replaced_by_the_next(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        before = add_request(tmp_path, ["kafka"], fresh=False)
    (tmp_path / "wanted.json").write_text(text)
    with pytest.raises(StateFileError, match=r"wanted\.json cannot be read"):
        read_request(tmp_path)
    after = add_request(tmp_path, ["postgres"], fresh=False)
    assert after.parts == ["postgres"]
    assert after.number > before.number  # the supervisor takes it for a new one
    assert caplog.records[0].action == "request"  # type: ignore[attr-defined]
    assert add_request(tmp_path, [], fresh=False).number == after.number + 1


def test_a_damaged_stack_file_without_a_supervisor_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_REWRITE_SECONDS", 0.1)
    (tmp_path / "stack.json").write_text("{")
    recover_stack_file(tmp_path)
    assert read_stack(tmp_path) == StackFile()
    assert (tmp_path / "stack.json.unreadable").read_text() == "{"
    assert read_request(tmp_path).number == 1


@pytest.mark.parametrize("text", [None, WHOLE])
def test_a_stack_file_that_can_be_read_is_left_as_it_is(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "stack.json"
    if text is not None:
        path.write_text(text)
    recover_stack_file(tmp_path)
    assert (path.read_text() if path.exists() else None) == text
    assert not (tmp_path / "wanted.json").exists()
