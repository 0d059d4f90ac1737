"""Sources of one partition: who steps aside, when they come back, where reading goes on."""

from ingest.consume.partition_state import AssignedPartition
from ingest.consume.sharing import ASIDE_SECONDS, PATIENCE_SECONDS, is_blocked, position, take_turns
from tests.unit.ingest.consume.test_partition_state import lane, record

BOTH = {"stuck", "fine"}


def slot(stuck: int = 0, fine: int = 0) -> AssignedPartition:
    made = AssignedPartition(lanes={"stuck": lane(start=stuck), "fine": lane(start=fine)})
    for name, at in made.lanes.items():
        at.spec = type(at.spec)(source=name, topics=("t",), limits=at.spec.limits)
    return made


def take(at: AssignedPartition, *offsets: int) -> None:
    for offset in offsets:
        for each in at.lanes.values():
            each.take_in(record(offset), 0.0)


def test_a_lane_that_waits_steps_aside_after_a_while_and_the_other_reads_on() -> None:
    at = slot()
    take(at, 0, 1, 2)
    at.lanes["stuck"].cut(0.0)
    take(at, 3)
    for now, aside in (
        (8.0, False),
        (8.0 + PATIENCE_SECONDS / 2, False),
        (8.0 + PATIENCE_SECONDS, True),
    ):
        assert is_blocked(at, {"stuck"})
        take_turns(at, {"stuck"}, {"fine"}, now)
        assert at.lanes["stuck"].aside is aside
    assert (at.seek_to, position(at), is_blocked(at, {"stuck"})) == (4, 4, False)
    take(at, 4)
    assert not at.lanes["stuck"].buffer
    assert (at.lanes["stuck"].expected, at.lanes["stuck"].handed_over) == (3, 0)
    assert [taken.offset for taken in at.lanes["fine"].buffer] == [0, 1, 2, 3, 4]


def test_it_comes_back_when_it_is_relieved_and_the_other_leaves_out_what_it_had() -> None:
    at = slot(fine=7)
    at.lanes["stuck"].step_aside(5.0)
    take_turns(at, set(), {"fine"}, 50.0)
    assert at.seek_to is None  # still more than half of its limits
    take_turns(at, set(), BOTH, 5.0 + ASIDE_SECONDS / 2)
    assert at.seek_to is None
    take_turns(at, set(), BOTH, 5.0 + ASIDE_SECONDS)
    assert (at.seek_to, position(at)) == (0, 0)
    take(at, *range(9))
    assert [[taken.offset for taken in each.buffer] for each in at.lanes.values()] == [
        [*range(9)],
        [7, 8],
    ]


def test_a_lane_that_is_far_back_leaves_the_other_its_turn() -> None:
    at = slot(fine=1_000)
    take_turns(at, set(), BOTH, 0.0)
    take_turns(at, set(), BOTH, PATIENCE_SECONDS)
    assert (at.lanes["stuck"].aside, at.seek_to) == (True, 1_000)


def test_a_lane_that_waits_further_on_holds_up_nobody() -> None:
    at = slot(stuck=50)
    take_turns(at, {"stuck"}, {"fine"}, 0.0)
    assert not is_blocked(at, {"stuck"})
    for offset in range(50):
        take(at, offset)
    assert is_blocked(at, {"stuck"})


def test_all_behind_means_that_nothing_is_read_and_nobody_steps_aside() -> None:
    at = slot()
    for now in (0.0, 100.0):
        take_turns(at, BOTH, set(), now)
    assert at.seek_to is None
    assert is_blocked(at, BOTH)


def test_the_last_lane_comes_back_though_nobody_else_reads() -> None:
    at = slot()
    at.lanes["stuck"].step_aside(0.0)
    del at.lanes["fine"]
    assert is_blocked(at, set())
    take_turns(at, set(), {"stuck"}, 5.0)
    assert (at.seek_to, is_blocked(at, set())) == (0, False)


def test_one_that_is_always_close_to_its_limits_does_not_set_the_pace_of_the_other() -> None:
    at = slot()
    for turn in range(
        30
    ):  # a batch is published every 0.2 s, and the next one fills the room at once
        take_turns(at, {"stuck"} if turn % 2 else set(), {"fine"}, turn / 10)
    assert at.lanes["stuck"].aside
    at = slot()
    for turn in range(30):  # one that is far below its limits between two waits is quick enough
        take_turns(at, {"stuck"} if turn % 2 else set(), BOTH, turn / 10)
    assert not at.lanes["stuck"].aside
