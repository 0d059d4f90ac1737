"""The injector of the fault driver: what it does to a stack, in which order, and what it records."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from compose.local.machine.process import kill_marked, spawn
from tests.bench.faults import injector as injector_module
from tests.bench.faults.injector import Injected, Injector
from tests.bench.faults.proxy import BlackHole, Cut, Delay, Plain
from tests.bench.faults.schedule import Fault, Kind
from tests.bench.faults.stalls import HeldFaults, Look, StallClock
from tests.bench.stack import freeze, thaw
from tests.support.polling import wait_until


class FakeStack:
    """A stack that does what it is told, and notes it."""

    def __init__(self, *, gone: str = "") -> None:
        self.done: list[Any] = []
        self.pids: dict[str, int] = {}
        self._gone = gone
        self.proxies = self

    def behave(self, name: str, behaviour: object) -> None:
        self.done.append((name, behaviour))

    def ready(self, part: str) -> bool:
        return part != self._gone

    def pid(self, part: str) -> int:
        return self.pids.setdefault(part, 100)

    def kill(self, part: str) -> bool:
        self.done.append(f"kill {part}")
        self.pids[part] = 101  # by the supervisor
        return True

    def ask_to_end(self, part: str) -> bool:
        self.done.append(f"ask {part} to end")
        self.pids[part] = 101
        return True

    def add_partition(self, timeout: float) -> None:
        self.done.append("add a partition")

    def freeze(self, part: str) -> list["FakeProcess"]:
        self.done.append(f"freeze {part}")
        return [FakeProcess(self.done, part)]

    def replacement(self, role: str, number: int) -> "FakeReplacement":
        return FakeReplacement(self.done, f"{role} {number}")


@dataclass
class FakeProcess:
    done: list[Any]
    name: str

    def resume(self) -> None:
        self.done.append(f"thaw {self.name}")


class FakeReplacement:
    def __init__(self, done: list[Any], name: str) -> None:
        self._done, self._name = done, name

    ready = True

    def start(self) -> None:
        self._done.append(f"start {self._name}")

    def stop(self) -> None:
        self._done.append(f"stop {self._name}")


class FakeWatcher:
    """One source, which always moves, or never."""

    def __init__(self, *, moves: bool = True) -> None:
        self.moves = moves
        self.clocks = {"s": StallClock("s")}

    def progressed_since(self, moment: float) -> bool:
        self.clocks["s"].progressed_at = moment + 1.5
        return self.moves


def fault(kind: Kind, target: str, *, number: int = 1, **of: Any) -> Fault:
    return Fault(number=number, kind=kind, target=target, after=0.0, **of)


def injected(stack: FakeStack, *faults: Fault, moves: bool = True) -> Injector:
    watcher: Any = FakeWatcher(moves=moves)
    made = Injector(stack, HeldFaults(), watcher, lambda _: None)  # type: ignore[arg-type]
    made.burst(faults)
    return made


def test_a_killed_part_is_awaited_and_its_recovery_measured() -> None:
    stack = FakeStack()
    [record] = injected(stack, fault(Kind.KILL, "storer")).injected
    assert stack.done == ["kill storer"]
    assert record.problem == ""
    assert record.began <= record.ended
    assert record.recovery_seconds() == pytest.approx(1.5)


def test_a_part_that_is_restarted_is_asked_to_end_and_awaited() -> None:
    stack = FakeStack()
    [record] = injected(stack, fault(Kind.RESTART, "kafka")).injected
    assert stack.done == ["ask kafka to end"]
    assert (record.problem, stack.pid("kafka")) == ("", 101)


def test_a_second_process_of_a_role_joins_and_leaves() -> None:
    stack = FakeStack()
    [record] = injected(stack, fault(Kind.JOIN, "consumer", seconds=0.01)).injected
    assert stack.done == ["start consumer 1", "stop consumer 1"]
    assert record.problem == ""


def test_the_topic_gets_one_more_partition() -> None:
    stack = FakeStack()
    injected(stack, fault(Kind.GROW, "kafka"))
    assert stack.done == ["add a partition"]


def test_a_frozen_role_is_replaced_until_it_is_awake_again() -> None:
    stack = FakeStack()
    injected(stack, fault(Kind.FREEZE, "storer", seconds=0.01, overlap=0.01))
    assert stack.done[:4] == ["freeze storer", "start storer 1", "thaw storer", "stop storer 1"]


def test_a_frozen_role_does_not_explain_a_standstill_while_its_replacement_works() -> None:
    stack = FakeStack()
    faults = HeldFaults()
    watcher: Any = FakeWatcher()
    made = Injector(stack, faults, watcher, lambda _: None)  # type: ignore[arg-type]
    changes: list[bool] = []
    begin, end = faults.begin, faults.end
    faults.begin = lambda name: changes.append(True) or begin(name)
    faults.end = lambda name: changes.append(False) or end(name)
    made.burst((fault(Kind.FREEZE, "storer", seconds=0.3, overlap=0.01),))
    assert changes == [True, False, True, False]


def test_a_frozen_server_is_not_replaced() -> None:
    stack = FakeStack()
    injected(stack, fault(Kind.FREEZE, "postgres", seconds=0.01))
    assert stack.done == ["freeze postgres", "thaw postgres"]


@pytest.mark.parametrize(
    ("what", "behaviour"),
    [
        (fault(Kind.DELAY, "kafka", seconds=0.01, low=1.0, high=2.0), Delay(1.0, 2.0)),
        (fault(Kind.CUT, "kafka", seconds=0.01, low=0.3), Cut(0.3)),
        (fault(Kind.BLACK_HOLE, "kafka", seconds=0.01, swallows=True), BlackHole(True)),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_a_proxy_misbehaves_for_a_while(what: Fault, behaviour: object) -> None:
    stack = FakeStack()
    injected(stack, what)
    assert stack.done == [("kafka", behaviour), ("kafka", Plain())]


def test_a_part_that_does_not_come_back_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(injector_module, "RETURN_SECONDS", 0.05)
    stack = FakeStack(gone="storer")
    [record] = injected(stack, fault(Kind.KILL, "storer")).injected
    assert "storer" in record.problem


def test_no_progress_after_a_fault_is_recorded_and_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(injector_module, "LIMIT_SECONDS", 0.05)
    monkeypatch.setattr(injector_module, "_BEYOND_LIMIT_SECONDS", 0.0)
    stack = FakeStack()
    [record] = injected(stack, fault(Kind.KILL, "storer"), moves=False).injected
    assert record.recovery_seconds() is None


@pytest.mark.parametrize(
    ("others", "seconds"),
    [
        ([], 20.0),
        ([(5, 15)], 15.0),
        ([(12, 15), (18, 25)], 10.0),
        ([(12, 25), (18, 20)], 7.0),
        ([(0, 40)], 0.0),
        ([(31, 50)], 20.0),
    ],
)
def test_recovery_leaves_out_the_time_in_which_another_fault_held(
    others: list[tuple[float, float]], seconds: float
) -> None:
    what = fault(Kind.KILL, "storer")
    record = Injected(fault=what, began=1.0, ended=10.0, progressed=30.0)
    held = [Injected(fault=what, began=began, ended=ended) for began, ended in others]
    assert record.recovery_seconds([record, *held]) == seconds


def test_faults_of_a_burst_hold_at_the_same_time() -> None:
    stack = FakeStack()
    both = threading.Barrier(2, timeout=5)
    stack.freeze = lambda part: [FakeProcess([both.wait()], part)]
    first = fault(Kind.FREEZE, "postgres", seconds=0.01)
    second = fault(Kind.FREEZE, "kafka", number=2, seconds=0.01)
    assert [one.problem for one in injected(stack, first, second).injected] == ["", ""]


def test_a_source_without_a_look_has_not_progressed() -> None:
    clock = StallClock("s")
    clock.look(Look(at=5.0, state="active", lag=1, moved=(1,)), faults_hold=True, lifted_at=0.0)
    assert clock.progressed_at == 5.0


def test_freezing_stops_every_process_of_a_part_and_thawing_wakes_them(tmp_path: Path) -> None:
    mark = f"{tmp_path}|part"
    command = ["sh", "-c", "sleep 600 & sleep 600"]
    child = spawn(command, mark=mark, environment={}, log=tmp_path / "log", cwd=tmp_path)
    processes = [psutil.Process(child.pid)]
    try:
        wait_until(lambda: len(processes[0].children()) == 2, 5)
        processes += processes[0].children()
        frozen = freeze(mark)
        assert {one.pid for one in frozen} == {one.pid for one in processes}
        wait_until(lambda: {one.status() for one in processes} == {psutil.STATUS_STOPPED}, 5)
        thaw(frozen)
        wait_until(lambda: {one.status() for one in processes} == {psutil.STATUS_SLEEPING}, 5)
    finally:
        kill_marked(mark)
        child.wait()
