"""A plan is exactly what is carried out: on things in memory, in every combination that hypothesis finds."""

import contextlib
import dataclasses
from collections.abc import Collection, Coroutine, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import ConfigurationError, DependencyError, FreshetError, LockWaitError
from workers.apply.change import Action, Change, StalePlanError, same
from workers.apply.kind import Kind, Services, Target
from workers.apply.plan import KINDS, execute
from workers.config.file import Config

SERVICES: Any = None  # the kinds here need none


@dataclasses.dataclass(frozen=True)
class Number:
    value: int

    def fields(self) -> Mapping[str, Any]:
        return {"value": self.value}


class Numbers(Kind[Number]):
    """Things that live in a dict. `writes` are the names that were written, in order."""

    name = "number"

    def __init__(self, wanted: dict[str, int], stored: dict[str, int], broken: str = "") -> None:
        self.wanted, self.stored, self.broken = wanted, dict(stored), broken
        self.writes: list[str] = []
        self.finished: list[str] = []

    async def desired(self, services: Services, target: Target) -> Mapping[str, Number]:
        return {name: Number(value) for name, value in self.wanted.items()}

    async def existing(self, services: Services) -> Collection[str]:
        return list(self.stored)

    async def current(self, services: Services, names: Collection[str]) -> Mapping[str, Number]:
        return {name: Number(self.stored[name]) for name in names if name in self.stored}

    def surplus(self, name: str, current: Number, target: Target) -> Change[Number]:
        action = Action.DELETE if target.prune else Action.UNLISTED
        desired = None if target.prune else current
        return Change(kind=self.name, name=name, action=action, current=current, desired=desired)

    async def write(self, services: Services, change: Change[Number]) -> None:
        if change.name == self.broken:
            raise DependencyError("the store is away")
        self.writes.append(change.name)
        if change.desired is None:
            del self.stored[change.name]
        else:
            self.stored[change.name] = change.desired.value

    async def finish(self, services: Services, change: Change[Number]) -> None:
        self.finished.append(change.name)


class NumbersTogether(Numbers):
    """The same as one transaction."""

    is_atomic = True


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing; an event loop for each example would be slow."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def compare(kind: Numbers, *, prune: bool = False) -> list[Change[Number]]:
    return run(kind.compare(SERVICES, Target(config=Config(sources=()), prune=prune)))


def carry_out(kind: Numbers, changes: list[Change[Number]]) -> list[Change[Any]]:
    """Carry out; returns what was reported."""
    reported: list[Change[Any]] = []
    done = run(execute(SERVICES, changes, report=reported.append, kinds=[kind]))
    assert done == reported
    return reported


def actions(changes: list[Change[Any]]) -> dict[str, Action]:
    return {change.name: change.action for change in changes}


stores = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2))


@given(wanted=stores, stored=stores, prune=st.booleans())
def test_what_is_done_is_what_was_planned(
    wanted: dict[str, int], stored: dict[str, int], prune: bool
) -> None:
    kind = Numbers(wanted, stored)
    changes = compare(kind, prune=prune)
    assert kind.stored == stored  # planning changes nothing
    assert carry_out(kind, changes) == changes
    needed = [change.name for change in changes if change.is_needed]
    assert kind.writes == kind.finished == needed
    assert kind.stored == (wanted if prune else stored | wanted)


@given(wanted=stores, stored=stores, prune=st.booleans())
def test_applying_again_changes_nothing(
    wanted: dict[str, int], stored: dict[str, int], prune: bool
) -> None:
    kind = Numbers(wanted, stored)
    carry_out(kind, compare(kind, prune=prune))
    kind.writes.clear()
    again = compare(kind, prune=prune)
    assert {change.action for change in again} <= {Action.UNCHANGED, Action.UNLISTED}
    assert all(change.fields == () for change in again)
    carry_out(kind, again)
    assert kind.writes == []


@given(wanted=stores, stored=stores, prune=st.booleans())
def test_a_plan_that_is_carried_out_twice_writes_once(
    wanted: dict[str, int], stored: dict[str, int], prune: bool
) -> None:
    kind = Numbers(wanted, stored)
    changes = compare(kind, prune=prune)
    carry_out(kind, changes)
    writes = list(kind.writes)
    assert carry_out(kind, changes) == changes
    assert kind.writes == writes


@given(wanted=stores, stored=stores, meanwhile=stores)
def test_a_stale_plan_overwrites_nothing(
    wanted: dict[str, int], stored: dict[str, int], meanwhile: dict[str, int]
) -> None:
    """Another program makes the things `meanwhile`: each is left as it is, or was as the plan saw it."""
    kind = Numbers(wanted, stored)
    changes = compare(kind, prune=True)
    kind.stored = dict(meanwhile)
    with contextlib.suppress(StalePlanError):
        carry_out(kind, changes)
    for name in kind.writes:
        assert meanwhile.get(name) == stored.get(name)
    for name in set(meanwhile) - set(kind.writes):
        assert kind.stored[name] == meanwhile[name]


def test_every_action_has_its_line() -> None:
    kind = Numbers({"new": 1, "other": 2, "same": 3}, {"other": 1, "same": 3, "old": 4})
    unlisted = compare(kind)
    assert actions(unlisted) == {
        "new": Action.CREATE,
        "other": Action.CHANGE,
        "same": Action.UNCHANGED,
        "old": Action.UNLISTED,
    }
    assert actions(compare(kind, prune=True))["old"] is Action.DELETE
    assert [change.to_json()["fields"] for change in unlisted] == [
        [],
        [{"path": "value", "before": 1, "after": 2}],
        [],
        [],
    ]


def test_a_failure_names_the_change_and_what_came_before_it_is_reported() -> None:
    kind = Numbers({"a": 1, "b": 1, "c": 1}, {}, broken="b")
    reported: list[str] = []
    with pytest.raises(DependencyError, match=r"^create number b: the store is away$"):
        run(
            execute(
                SERVICES,
                compare(kind),
                report=lambda change: reported.append(change.name),
                kinds=[kind],
            )
        )
    assert reported == kind.writes == kind.finished == ["a"]


class Unreachable(NumbersTogether):
    """What depends on `a` and `c` cannot be notified."""

    async def finish(self, services: Services, change: Change[Number]) -> None:
        if change.name in ("a", "c"):
            raise DependencyError("nothing answers")
        await super().finish(services, change)


def test_one_that_cannot_be_notified_leaves_out_no_other() -> None:
    kind = Unreachable({"a": 1, "b": 1, "c": 1, "d": 1}, {})
    with pytest.raises(DependencyError, match=r"number a: nothing answers; .*number c: nothing"):
        run(execute(SERVICES, compare(kind), kinds=[kind]))
    assert kind.finished == ["b", "d"]


def test_of_changes_that_belong_together_none_is_reported_when_one_fails() -> None:
    kind = NumbersTogether({"a": 1, "b": 1}, {}, broken="b")
    reported: list[str] = []
    with pytest.raises(DependencyError, match="number b"):
        run(
            execute(
                SERVICES,
                compare(kind),
                report=lambda change: reported.append(change.name),
                kinds=[kind],
            )
        )
    assert reported == kind.finished == []


def test_what_waits_for_a_lock_holds_up_no_other_change() -> None:
    class Held(Numbers):
        async def write(self, services: Services, change: Change[Number]) -> None:
            if change.name in ("a", "c"):
                raise LockWaitError("held")
            await super().write(services, change)

    kind = Held({"a": 1, "b": 1, "c": 1, "d": 1}, {})
    reported: list[str] = []
    with pytest.raises(LockWaitError, match="create number a: held; create number c: held"):
        run(
            execute(
                SERVICES,
                compare(kind),
                report=lambda change: reported.append(change.name),
                kinds=[kind],
            )
        )
    assert reported == kind.finished == ["b", "d"]


def test_a_change_keeps_the_class_of_its_error() -> None:
    class Refusing(Numbers):
        async def write(self, services: Services, change: Change[Number]) -> None:
            raise ConfigurationError("no")

    kind = Refusing({"a": 1}, {})
    with pytest.raises(ConfigurationError, match="create number a: no") as caught:
        carry_out(kind, compare(kind))
    assert not caught.value.retryable


def test_a_change_that_no_kind_carries_out_is_not_skipped() -> None:
    kind = Numbers({"a": 1}, {})
    changes = compare(kind)
    with pytest.raises(ValueError, match="no kind carries out number"):
        run(execute(SERVICES, changes, kinds=[]))


def test_states_are_the_same_by_their_fields() -> None:
    assert same(None, None)
    assert not same(None, Number(1))
    assert not same(Number(1), None)
    assert same(Number(1), Number(1))
    assert not same(Number(1), Number(2))


def test_the_order_is_what_each_kind_needs() -> None:
    order = [kind.name for kind in KINDS]
    assert len(set(order)) == len(order)
    for before, after in (
        ("space", "source"),
        ("topic", "source"),
        ("source", "schedule"),
        ("source", "subscription"),
        ("namespace", "schedule"),
        ("namespace", "endpoint"),
        ("endpoint", "subscription"),
    ):
        assert order.index(before) < order.index(after), (before, after)


def test_a_stale_plan_is_an_expected_error() -> None:
    """Exit code 2 and one line, not an internal error."""
    assert issubclass(StalePlanError, FreshetError)
