"""Of two installations in one consumer group, which one is refused: never both, never neither."""

import itertools

import pytest

from corpus.errors import InstallationError
from corpus.installation.identity import mark_of
from ingest.consume.group import (
    GroupMember,
    GroupState,
    describe_members,
    marked_properties,
    refuse_other,
)

A = "00000000-0000-0000-0000-00000000000a"
B = "00000000-0000-0000-0000-00000000000b"


def group(*members: str, committed: tuple[str, ...] = ()) -> GroupState:
    """Members by their installation; "" is one without a mark."""
    clients = [mark_of(member) if member else "consumer-7" for member in members]
    return GroupState(
        group="g",
        members=tuple(GroupMember(client_id=client, host="/10.0.0.1") for client in clients),
        committed_by=frozenset(committed),
    )


def is_refused(state: GroupState, own: str, *, is_member: bool) -> bool:
    try:
        refuse_other(state, own, is_member=is_member)
    except InstallationError:
        return True
    return False


@pytest.mark.parametrize("is_member", [True, False])
def test_a_group_without_another_installation_is_free(is_member: bool) -> None:
    for state in (group(), group(A), group("", A), group(committed=(A,)), group(A, committed=(A,))):
        assert not is_refused(state, A, is_member=is_member)


def test_who_comes_later_is_refused() -> None:
    for own, other in ((A, B), (B, A)):
        for state in (group(other), group(committed=(other,)), group(other, committed=(other,))):
            assert is_refused(state, own, is_member=False)


def test_who_has_committed_stays() -> None:
    for own, other in ((A, B), (B, A)):
        state = group(own, other, committed=(own,))
        assert not is_refused(state, own, is_member=True)
        assert not is_refused(state, own, is_member=False)  # another consumer of it starts
        assert is_refused(state, other, is_member=True)


@pytest.mark.parametrize(
    "committed", [sorted(each) for n in range(3) for each in itertools.combinations((A, B), n)]
)
def test_of_two_members_exactly_one_is_refused(committed: list[str]) -> None:
    state = group(A, B, committed=tuple(committed))
    refused = [own for own in (A, B) if is_refused(state, own, is_member=True)]
    assert len(refused) == 1


def test_the_refusal_names_the_group_the_other_and_what_to_do() -> None:
    with pytest.raises(InstallationError, match="consumer group 'g' is used by") as refused:
        refuse_other(group(B, committed=(B,)), A, is_member=False)
    for part in (B, "/10.0.0.1", "FRESHET_KAFKA_GROUP", "half of the records", "--take-over"):
        assert part in str(refused.value)
    with pytest.raises(InstallationError, match="no consumer of it runs now"):
        refuse_other(group(committed=(B,)), A, is_member=False)


def test_members_are_described_where_they_take_records() -> None:
    assert describe_members(group(A, committed=(A,)), A) == ""
    assert "client 'consumer-7' at /10.0.0.1" in describe_members(group(A, ""), A)
    assert B in describe_members(group(A, B, committed=(A,)), A)


def test_a_client_id_of_the_user_keeps_its_place() -> None:
    assert marked_properties({"client.id": "acme"}, "m")["client.id"] == "acme.m"
    assert marked_properties({"group.id": "g"}, "m") == {"group.id": "g", "client.id": "freshet.m"}
