"""A change of one thing: what it is now, what it should be, and what is done about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from corpus.errors import TransientError


class StalePlanError(TransientError):
    """What the plan was made from has changed since; a new plan takes it into account."""


class Action(StrEnum):
    """What is done with a thing."""

    CREATE = "create"
    CHANGE = "change"
    RETIRE = "retire"  # a source: no longer consumed, its documents stay
    END = "end"  # a subscription: no further notices, its cursor stays
    DELETE = "delete"
    UNCHANGED = "unchanged"
    UNLISTED = (
        "unlisted"  # it exists, and the file does not name it; only --prune changes it
    )
    FOREIGN = "foreign"  # another installation's; no command of this one changes it


class State(Protocol):
    """One thing as it is, or as it should be."""

    def fields(self) -> Mapping[str, Any]:
        """What is compared and shown, by path; what is left out takes effect at creation only."""
        ...


S = TypeVar("S", bound=State)


class FieldChange(NamedTuple):
    """One field of a thing that changes."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[S]):
    """One line of a plan. It holds all that carrying it out needs, so that the file is not read again."""

    kind: str  # "source", "topic", ...: the name of a `Kind`
    name: str
    action: Action
    current: S | None = None  # as it was when the plan was made; None: it did not exist
    desired: S | None = None  # None: it should not exist

    @property
    def is_needed(self) -> bool:
        """Whether carrying it out changes something."""
        return self.action not in (Action.UNCHANGED, Action.UNLISTED, Action.FOREIGN)

    @property
    def fields(self) -> tuple[FieldChange, ...]:
        """The fields that differ; none for what is created or removed as a whole."""
        if (
            self.action is not Action.CHANGE
            or self.current is None
            or self.desired is None
        ):
            return ()
        before = self.current.fields()
        after = self.desired.fields()
        differing: list[FieldChange] = []
        for path, value in after.items():
            field = FieldChange(path, before.get(path), value)
            if field.before != field.after:
                differing.append(field)
        return tuple(differing)

    def to_json(self) -> dict[str, Any]:
        """As `freshet apply --json` prints it."""
        fields = [field._asdict() for field in self.fields]
        return {
            "kind": self.kind,
            "name": self.name,
            "change": self.action,
            "fields": fields,
        }


def same(one: State | None, other: State | None) -> bool:
    """Whether two states need no change between them."""
    if one is None or other is None:
        return one is other
    return one.fields() == other.fields()
