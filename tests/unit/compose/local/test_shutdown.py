"""The order in which parts end."""

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.local import shutdown
from compose.local.machine.process import ProcessId
from compose.local.parts.part import PartStatus
from compose.local.shutdown import end_parts
from compose.local.stack import stack_parts

ENDED = 0.0


class Machine:
    """Processes that run until they are stopped."""

    def __init__(self) -> None:
        self.running: set[ProcessId] = set()
        self.stopped: list[tuple[set[int], set[signal.Signals], float]] = []

    def stop(self, processes: Mapping[ProcessId, signal.Signals], *, grace: float) -> None:
        pids = {process.pid for process in processes}
        self.stopped.append((pids, set(processes.values()), grace))
        self.running -= set(processes)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(ProcessId, "alive", lambda process: process in machine.running)
    monkeypatch.setattr(shutdown, "stop", machine.stop)
    monkeypatch.setattr(shutdown, "kill_marked", lambda _mark: 0)
    return machine


def statuses_of(
    machine: Machine, needs: Mapping[str, list[str]], **options
) -> dict[str, PartStatus]:
    """Parts that run, each with the parts that it needs; `task` has no process."""
    statuses: dict[str, PartStatus] = {}
    for pid, (name, after) in enumerate(needs.items(), 1):
        statuses[name] = PartStatus(name=name, after=after, **options)
        if name != "task":
            statuses[name].pid, statuses[name].started = pid, 1.0
            machine.running.add(ProcessId(pid, 1.0))
    return statuses


def end(statuses: dict[str, PartStatus]) -> list[str]:
    order: list[str] = []
    end_parts(Path("/home"), statuses, on_stop=order.append)
    return order


def test_what_needs_others_ends_first_and_equals_end_together(machine: Machine) -> None:
    needs = {
        "postgres": [],
        "task": ["postgres"],
        "kafka": [],
        "a": ["task"],
        "b": ["task", "kafka"],
    }
    assert end(statuses_of(machine, needs)) == ["a", "b", "postgres", "kafka"]
    assert [pids for pids, _, _ in machine.stopped] == [{4, 5}, {1, 3}]


def test_each_part_has_its_signal_and_the_slowest_decides_how_long(machine: Machine) -> None:
    statuses = statuses_of(machine, {"postgres": [], "kafka": []})
    statuses["postgres"].stop_signal = signal.SIGINT
    statuses["postgres"].grace_seconds = 30
    end(statuses)
    assert machine.stopped == [({1, 2}, {signal.SIGINT, signal.SIGTERM}, 30)]


def test_parts_that_have_ended_are_not_stopped(machine: Machine) -> None:
    statuses = statuses_of(machine, {"postgres": [], "kafka": []})
    machine.running.clear()
    assert end(statuses) == []
    assert machine.stopped == []


@pytest.mark.parametrize("needs", [{"a": ["a"]}, {"a": ["b"], "b": ["a"]}, {"a": ["x"], "b": []}])
def test_parts_that_need_each_other_or_nothing_known_end_too(
    machine: Machine, needs: dict[str, list[str]]
) -> None:
    assert sorted(end(statuses_of(machine, needs))) == sorted(needs)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_part_ends_before_one_that_needs_it(machine: Machine, data: st.DataObject) -> None:
    names = [f"p{number}" for number in range(data.draw(st.integers(1, 7)))]
    needs = {
        name: data.draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        for index, name in enumerate(names)
    }
    order = end(statuses_of(machine, needs))
    assert sorted(order) == names
    for name, after in needs.items():
        for needed in after:
            assert order.index(name) < order.index(needed)


def test_the_real_stack_ends_workers_before_services(machine: Machine, tmp_path: Path) -> None:
    ports = {"postgres": 1, "kafka": 2, "kafka-controller": 3, "temporal": 4, "temporal-ui": 5}
    parts = stack_parts(tmp_path, ports)
    needs = {name: list(part.after) for name, part in parts.items()}
    statuses = statuses_of(machine, needs)
    statuses["migrations"].pid = None
    machine.running.discard(ProcessId(2, 1.0))
    order = end(statuses)
    assert set(order[:6]) == {
        "consumer",
        "orchestrator",
        "preparer",
        "embedder",
        "storer",
        "gateway",
    }
    assert set(order[6:]) == {"postgres", "kafka", "temporal"}
