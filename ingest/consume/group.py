"""Whose consumer group it is: two installations in one group would each get half of the records.

A consumer carries the mark of its installation in its client id, which the broker shows for every member, and in the
metadata of the offsets that it commits, which the broker keeps while no member runs.
"""

# confluent_kafka.admin exports its classes as its documentation says, but not for type checkers.
# pyright: reportPrivateImportUsage=false

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from corpus.errors import DependencyError, InstallationError
from corpus.installation.identity import TAKE_OVER, marked_by
from ingest.kafka import properties

_ANSWER_SECONDS = 15
_INTERVAL_SECONDS = 0.2
# A cluster that never had a group makes the topic of their offsets at the first question; after a restart it is read.
_PASSING = frozenset(
    {
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A consumer of the group."""

    client_id: str
    host: str

    def describe(self) -> str:
        """One member, for messages."""
        return f"client {self.client_id!r} at {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """What the broker knows about a group."""

    group: str
    members: tuple[GroupMember, ...] = ()
    committed_by: frozenset[str] = frozenset()  # installations

    def other_members(self, own: str) -> list[GroupMember]:
        """Members of other installations."""
        return [
            member
            for member in self.members
            if marked_by(member.client_id) not in (None, own)
        ]

    def unknown_members(self) -> list[GroupMember]:
        """Members without a mark: an older Freshet, or another program."""
        return [
            member for member in self.members if marked_by(member.client_id) is None
        ]

    def others(self, own: str) -> set[str]:
        """Every other installation that has left its mark."""
        marks = {marked_by(member.client_id) for member in self.other_members(own)}
        found = {mark for mark in marks if mark is not None} | self.committed_by
        return found - {own}


def refuse_other(state: GroupState, own: str, *, is_member: bool) -> None:
    """Refuse a group that is another installation's.

    Of two installations that meet, the one that has committed offsets stays. Where neither or both have, and both are
    members, the one with the smaller id stays, so that exactly one ends.

    Args:
        state: of the group.
        own: id of the installation that asks.
        is_member: whether the process that asks is a member already.

    Raises:
        InstallationError: the group is another installation's.
    """
    others = state.others(own)
    if not others:
        return
    if state.committed_by == frozenset({own}):
        return
    is_equal = is_member and not state.committed_by
    if (is_equal or own in state.committed_by) and own < min(others):
        return
    raise InstallationError(_describe_others(state, own))


def describe_members(state: GroupState, own: str) -> str:
    """Which members of other installations, or of none, take records of the group; empty: there are none."""
    if state.others(own):
        return _describe_others(state, own)
    unknown = [member.describe() for member in state.unknown_members()]
    if not unknown:
        return ""
    members = "; ".join(unknown)
    return (
        f"consumer group {state.group!r} has members without the mark of an installation: {members}. An older Freshet "
        "gets one when it is updated; another program takes records from this installation: end it"
    )


def _describe_others(state: GroupState, own: str) -> str:
    """Which other installations use the group, and what to do."""
    ids = ", ".join(sorted(state.others(own)))
    running = [member.describe() for member in state.other_members(own)]
    members = "; ".join(running) or "no consumer of it runs now"
    return (
        f"consumer group {state.group!r} is used by another installation: {ids} ({members}). In one group each of two "
        "installations gets half of the records. Set FRESHET_KAFKA_GROUP to another name for one of them; "
        f"if the other installation no longer exists: {TAKE_OVER}"
    )


def marked_properties(kafka: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """Properties of a consumer with the mark of its installation in the client id, beside the user's own id."""
    client_id = str(kafka.get("client.id", "freshet"))
    return {**kafka, "client.id": f"{client_id}.{mark}"}


class ConsumerGroup:
    """Asks the broker about a group; each method blocks for at most 30 s.

    Args:
        bootstrap: host:port[,...].
        given: the user's librdkafka properties.
        group: its name.
    """

    def __init__(self, bootstrap: str, given: dict[str, str], group: str) -> None:
        self._group = group
        # The types of AdminClient's methods are incomplete.
        self._admin: Any = AdminClient(properties(bootstrap, given))

    def log_in(self, username: str, password: str) -> None:
        """Use another name and password at the next login."""
        self._admin.set_sasl_credentials(username, password)

    def state(self) -> GroupState:
        """Members and marks.

        Raises:
            DependencyError: Kafka does not answer, or refuses.
        """
        return GroupState(
            group=self._group,
            members=tuple(self._members()),
            committed_by=frozenset(self._committed_by()),
        )

    def forget(self) -> None:
        """Delete the group with its committed offsets; positions are in PostgreSQL, so nothing is read again.

        Raises:
            DependencyError: Kafka does not answer, or the group has members.
        """
        self._ask("deleting", self._admin.delete_consumer_groups, self._group)

    def _members(self) -> Iterable[GroupMember]:
        describe = self._admin.describe_consumer_groups
        description = self._ask("describing", describe, self._group)
        if description is None:
            return
        for member in description.members:
            yield GroupMember(client_id=member.client_id, host=member.host)

    def _committed_by(self) -> Iterable[str]:
        list_offsets = self._admin.list_consumer_group_offsets
        group = ConsumerGroupTopicPartitions(self._group)
        offsets = self._ask("reading the offsets of", list_offsets, group)
        if offsets is None:
            return
        for partition in offsets.topic_partitions:
            installation = marked_by(partition.metadata)
            if installation is not None:
                yield installation

    def _ask(self, doing: str, ask: Callable[..., Any], about: Any) -> Any:
        """The answer about the group; None where there is no such group."""
        what = f"{doing} consumer group {self._group!r}"
        try:
            return _answer(ask, about, self._group)
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            raise DependencyError(
                f"Kafka: {what} failed: {reason.name()} {reason.str()}"
            ) from error
        except TimeoutError as error:
            raise DependencyError(
                f"Kafka: {what} took longer than {_ANSWER_SECONDS} s"
            ) from error


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _PASSING


@retry(
    retry=retry_if_exception(_is_passing),
    wait=wait_fixed(_INTERVAL_SECONDS),
    stop=stop_after_delay(_ANSWER_SECONDS),
    reraise=True,
)
def _answer(ask: Callable[..., Any], about: Any, group: str) -> Any:
    asked: dict[str, Future[Any]] = ask([about], request_timeout=_ANSWER_SECONDS)
    return asked[group].result(timeout=_ANSWER_SECONDS + 5)
