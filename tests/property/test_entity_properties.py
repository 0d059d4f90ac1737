"""A source's entity, under any sequence of signals, failures, rewinds and restarts."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.entity_stories import play
from tests.support.entity_world import World

PARTITIONS = st.integers(0, 1)
NUMBERS = st.integers(0, 5)
RECORDS = st.integers(1, 6)
NONE = st.just(0)


def steps(names: list[str], number: st.SearchStrategy[int], records: st.SearchStrategy[int]):
    return st.tuples(st.sampled_from(names), number, records)


# What happens often is drawn more often.
STEPS = st.one_of(
    steps(["stage"], PARTITIONS, RECORDS),
    steps(["stage", "stage before the rewind is noticed"], PARTITIONS, RECORDS),
    steps(["repeat", "expire"], NUMBERS, NONE),
    steps(["restart consumer"], PARTITIONS, NONE),
    steps(["start"], NUMBERS, NONE),
    steps(["end", "end", "end", "fail"], NUMBERS, NONE),
    steps(["answer", "answer", "answer", "refuse"], NONE, NONE),
    steps(["pause", "resume", "resume in database", "reload", "suggest"], NONE, NONE),
    steps(["back up database", "restore database"], NONE, NONE),
    steps(["late resume signal", "configure again", "time passes"], NONE, NONE),
)


def perform(world: World, step: str, number: int, records: int) -> None:
    actions: dict[str, Callable[[], None]] = {
        "stage": lambda: world.stage(number, records),
        "stage before the rewind is noticed": lambda: world.stage(
            number, records, notices_rewind=False
        ),
        "repeat": lambda: world.repeat(number),
        "restart consumer": lambda: world.restart_consumer(number),
        "expire": lambda: world.expire(number),
        "start": lambda: world.start(number),
        "end": lambda: world.end_child(number, fails=False),
        "fail": lambda: world.end_child(number, fails=True),
        "answer": world.answer,
        "refuse": lambda: world.answer(refuses=True),
        "pause": lambda: world.entity.pause(),
        "resume": world.resume,
        "resume in database": world.resume_in_database,
        "late resume signal": lambda: world.entity.resume(),
        "configure again": world.configure_again,
        "back up database": world.back_up_database,
        "restore database": world.restore_database,
        "reload": lambda: world.entity.reload(),
        "time passes": lambda: world.module.pass_time(3.0),
        "suggest": world.suggest_continue_as_new,
    }
    actions[step]()


@settings(max_examples=120, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_nothing_is_lost_nothing_is_published_twice_and_batches_are_in_order(
    events: list[tuple[str, int, int]],
) -> None:
    """The model checks the order of batches when one may publish, and when it does."""

    async def story(world: World) -> None:
        for step, number, records in events:
            perform(world, step, number, records)
            await world.settle()
        await world.drain()

    world = play(story)
    assert world.positions == world.end
    if not any(step == "restore database" for step, _, _ in events):
        assert world.gaps == []  # after a restore, the gap is how the entity notices
    executed = world.expired + world.refused
    assert len(executed) == len(set(executed))
    # An order may be replaced by a newer one; the newest is carried out.
    assert not world.requested or world.requested[-1] in executed
