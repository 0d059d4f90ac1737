"""What `freshet source show` says of a source's workflow."""

from ingest.source_state import SourceState
from tests.support.orders import make_ref
from workers.cli.commands.source_show import status_of


def test_what_waits_and_what_was_dropped_is_named() -> None:
    state = SourceState(
        source="s",
        epoch=3,
        pending=[make_ref(0, 10)],
        undecided=[make_ref(10, 15)],
        in_flight=[make_ref(15, 17)],
        outdated=4,
        early=2,
        repeated=1,
        stuck={"t/1": 5, "t/0": 1},
    )
    status = status_of(state)
    assert status["records that wait"] == 15
    assert status["records in flight"] == 2
    assert (status["references outdated"], status["references early"]) == (4, 2)
    assert (status["references repeated"], status["references undecided"]) == (1, 1)
    assert (status["halted"], status["failed partitions"]) == ("no", ["t/0", "t/1"])
