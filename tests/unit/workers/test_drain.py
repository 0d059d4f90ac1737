"""Waiting for the corpus: what is missing, what stops it, and the line that says how far it is."""

import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.answers import Answers
from ingest.kafka import LogBounds
from tests.support.readers import make_position
from workers import drain as drain_module
from workers.drain import SourceRow, Waiting
from workers.stages import BatchStage, SourceStages, progress_sentence


class FakeDatabase:
    """Answers `drain_state` with these states one after the other; the last one stays."""

    def __init__(self, *states: list[SourceRow], embedded: dict[int, int] | None = None) -> None:
        self.states = deque(states)
        self.embedded = embedded or {}
        self.positions: list[Any] = []
        self.counted: list[str] = []  # the sources whose texts were counted
        self.asked: list[list[str] | None] = []  # the sources that were said to be behind

    def cursor(self, **_: Any) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None: ...

    def execute(self, text: str, values: dict[str, Any]) -> Any:
        if text == query("positions_of_sources"):
            return SimpleNamespace(fetchall=lambda: self.positions)
        if "embedding" in text:
            self.counted.append(values["source"])
            return SimpleNamespace(fetchall=lambda: list(self.embedded.items()))
        state = self.states.popleft() if len(self.states) > 1 else self.states[0]
        behind = values["behind"]
        self.asked.append(behind)
        found = [
            row for row in state if behind is None or row.source in behind or row.state != "active"
        ]
        return SimpleNamespace(fetchall=lambda: found)


class FakeCluster:
    """Topics with as many partitions each: name -> (first, end)."""

    def __init__(
        self,
        offsets: dict[str, tuple[int, int]],
        holes: int | None = None,
        partitions: int = 1,
    ) -> None:
        self._offsets = offsets
        self._holes = holes
        self._partitions = partitions

    def topics(self, names: Any) -> Any:
        return {
            name: SimpleNamespace(topic=name, partitions=self._partitions, topic_id="id")
            for name in names
            if name in self._offsets
        }

    def describe(self, names: Any) -> Any:
        return Answers(answers=self.topics(names))

    def cluster_id(self) -> str:
        return "c"

    def bounds_of(self, keys: Any) -> Any:
        return Answers(answers={key: LogBounds(*self._offsets[key.topic]) for key in keys})

    def offsets(self, partitions: Any) -> Any:
        return {(topic, number): self._offsets[topic] for topic, number in partitions}

    def next_record(self, topic: str, partition: int, offset: int) -> int | None:
        return self._holes


def row(
    position: int | None,
    *,
    source: str = "s",
    topic: str = "t",
    state: str = "active",
    reason: str | None = None,
) -> SourceRow:
    return SourceRow(
        source=source,
        spec=SourceSpec(source=source, topics=(topic,)).to_json(),
        state=state,
        state_reason=reason,
        last_batch=4,
        positions={} if position is None else {f"{topic}/0": position},
    )


def waiting(*states: list[SourceRow], cluster: FakeCluster | None = None, **more: Any) -> Waiting:
    database: Any = FakeDatabase(*states, **more)
    kafka: Any = cluster or FakeCluster({"t": (0, 10)})
    return Waiting(database, kafka, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(drain_module, "_STANDSTILL_SECONDS", 0.3)


# ── what is missing ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_ends_when_every_position_is_at_the_end() -> None:
    result = waiting([row(0)], [row(4)], [row(10)]).until(5)
    assert (result["drained"], result["why"], result["lag"]) == (True, "", 0)
    assert (result["records"], result["sources"]) == (10, {"s": 0})
    assert set(result) == {"drained", "why", "lag", "records", "seconds", "sources"}


@pytest.mark.parametrize(
    ("offsets", "position", "lag"),
    [
        ((0, 10), None, 10),
        ((0, 10), 3, 7),
        ((0, 10), 10, 0),
        ((0, 10), 12, 0),
        ((6, 10), None, 4),  # retention removed the first ones
        ((10, 10), None, 0),
        ((0, 0), None, 0),
    ],
)
def test_the_lag_of_a_partition(offsets: tuple[int, int], position: int | None, lag: int) -> None:
    result = waiting([row(position)], cluster=FakeCluster({"t": offsets})).until(0)
    assert (result["lag"], result["drained"]) == (lag, lag == 0)


def test_a_topic_that_two_sources_read_counts_for_both() -> None:
    result = waiting([row(10, source="a"), row(4, source="b")]).until(0)
    assert result["sources"] == {"a": 0, "b": 6}
    assert result["why"] == "6 records are not in the corpus after 0 s (b: 6)"


def test_of_many_sources_those_behind_are_read_again_and_all_at_the_end() -> None:
    done = [row(10, source=f"s{number}") for number in range(5)]
    waits = waiting(
        [*done, row(0, source="z")], [*done, row(4, source="z")], [*done, row(10, source="z")]
    )
    result = waits.until(5)
    assert (result["drained"], result["sources"]["z"]) == (True, 0)
    database: Any = waits._connection
    assert database.asked == [None, ["z"], ["z"], None]


def test_a_source_that_is_retired_meanwhile_is_not_waited_for() -> None:
    result = waiting([row(10, source="a"), row(4, source="b")], [row(10, source="a")]).until(5)
    assert (result["drained"], result["sources"]) == (True, {"a": 0})


def test_a_source_that_was_up_to_date_and_reads_anew_is_waited_for() -> None:
    """It was behind nothing, so it was not read again before the end."""
    both = [
        [row(a, source="a"), row(b, source="b")] for a, b in ((10, 4), (0, 10), (0, 10), (10, 10))
    ]
    result = waiting(*both).until(5)
    assert result["drained"]


def test_a_source_that_halts_though_it_is_not_behind_ends_the_waiting() -> None:
    halted = row(10, source="a", state="halted", reason="a gap")
    result = waiting([row(10, source="a"), row(4, source="b")], [halted, row(4, source="b")]).until(
        60
    )
    assert result["why"] == "source 'a' is halted: a gap"


def test_of_many_sources_that_are_behind_the_furthest_are_named() -> None:
    rows = [row(number % 9, source=f"s{number}") for number in range(100)]
    why = waiting(rows).until(0)["why"]
    assert why.count(": ") == 20
    assert "(s0: 10, " in why
    assert why.endswith(" and 80 more)")
    assert " more" not in waiting(rows[:20]).until(0)["why"]


def test_what_is_told_at_the_end_is_of_all_sources() -> None:
    """One that was up to date is rewound, and another one appears, while a third stands."""
    before = [row(10, source="a"), row(4, source="b")]
    after = [row(2, source="a"), row(4, source="b"), row(9, source="new")]
    result = waiting(before, after).until(0.05)
    assert result["sources"] == {"a": 8, "b": 6, "new": 1}
    assert result["why"] == "15 records are not in the corpus after 0.05 s (a: 8, b: 6, new: 1)"


def test_a_source_that_is_paused_while_another_one_stands_ends_the_waiting() -> None:
    paused = row(2, source="a", state="paused", reason="by hand")
    result = waiting([row(10, source="a"), row(4, source="b")], [paused, row(4, source="b")]).until(
        60
    )
    assert result["why"] == "source 'a' is paused: by hand"


def test_a_topic_that_went_with_its_source_is_no_problem() -> None:
    cluster = FakeCluster({"t": (0, 10), "u": (0, 10)}, holes=4)
    both = [row(10, source="a", topic="u"), row(4, source="b")]
    waits = waiting(both, [row(4, source="b")], cluster=cluster)
    del cluster._offsets["u"]
    result = waits.until(0.7)
    assert result["why"] == "6 records are not in the corpus after 0.7 s (b: 6)"


def test_each_partition_counts() -> None:
    cluster = FakeCluster({"t": (0, 10)}, partitions=3)
    of_three = row(None)
    of_three.positions.update({"t/0": 10, "t/2": 7})
    assert waiting([of_three], cluster=cluster).until(0)["sources"] == {"s": 13}


def test_holes_are_behind_the_furthest_source() -> None:
    """The other source has to read the records before them."""
    cluster = FakeCluster({"t": (0, 10)}, holes=None)
    rows = [row(9, source="a"), row(4, source="b")]
    assert waiting(rows, cluster=cluster).until(0.7)["sources"] == {"a": 0, "b": 5}
    assert waiting(rows[::-1], cluster=cluster).until(0.7)["sources"] == {"a": 0, "b": 5}


def test_after_the_time_no_hole_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "_STANDSTILL_SECONDS", -1.0)
    cluster = FakeCluster({"t": (0, 10)}, holes=None, partitions=50)
    asked: list[int] = []

    def next_record(topic: str, partition: int, offset: int) -> int:
        asked.append(partition)
        time.sleep(0.01)
        return offset

    monkeypatch.setattr(cluster, "next_record", next_record)
    of_fifty = row(None)
    of_fifty.positions.update({f"t/{number}": 3 for number in range(50)})
    result = waiting([of_fifty], cluster=cluster).until(0.1)
    assert (result["lag"], result["drained"]) == (350, False)
    assert len(asked) < 50


def test_a_missing_topic_is_not_up_to_date() -> None:
    result = waiting([row(None)], cluster=FakeCluster({})).until(0)
    assert (result["drained"], result["lag"]) == (False, 0)
    assert result["why"] == "source 's': topic t is missing; `freshet apply` creates it"


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (make_position(10, topic_id="old"), "the topic was recreated"),
        (make_position(10, cluster_id="other"), "belongs to Kafka cluster other"),
        (make_position(12), "the log was truncated"),
    ],
)
def test_a_position_that_is_not_in_the_log_is_not_up_to_date(position: Any, reason: str) -> None:
    """It has no lag: it is at the end of another log, or beyond that of this one."""
    waits = waiting([row(position.next_offset)])
    database: Any = waits._connection
    database.positions = [position]
    result = waits.until(5)
    assert (result["drained"], result["lag"]) == (False, 0)
    assert reason in result["why"]


def test_a_position_that_is_not_in_the_log_ends_the_waiting_early() -> None:
    waits = waiting([row(4)])
    database: Any = waits._connection
    database.positions = [make_position(4, topic_id="old")]
    result = waits.until(60)
    assert result["seconds"] < 30
    assert "the topic was recreated" in result["why"]


def test_no_time_looks_once() -> None:
    result = waiting([row(0)], [row(10)]).until(0)
    assert (result["drained"], result["lag"]) == (False, 10)


@pytest.mark.parametrize("state", ["halted", "paused"])
def test_a_stopped_source_that_has_records_ends_it_at_once(state: str) -> None:
    stopped = [row(4, state=state, reason="batch 5: no memory")]
    result = waiting([row(4)], stopped).until(60)
    assert result["why"] == f"source 's' is {state}: batch 5: no memory"


def test_a_halted_source_is_never_up_to_date() -> None:
    result = waiting([row(10, state="halted", reason="a gap")]).until(60)
    assert (result["drained"], result["why"]) == (False, "source 's' is halted: a gap")


def test_a_paused_source_without_records_is_up_to_date() -> None:
    assert waiting([row(10, state="paused")]).until(60)["drained"]


def test_an_unknown_source_is_named() -> None:
    database: Any = FakeDatabase([])
    kafka: Any = FakeCluster({})
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        Waiting(database, kafka, "nope")


@pytest.mark.parametrize("following", [None, 10, 12])
def test_holes_at_the_end_of_the_log_are_not_waited_for(following: int | None) -> None:
    cluster = FakeCluster({"t": (0, 10)}, holes=following)
    assert waiting([row(9)], cluster=cluster).until(5)["drained"]


def test_a_record_before_the_end_is_waited_for() -> None:
    cluster = FakeCluster({"t": (0, 10)}, holes=9)
    assert waiting([row(8)], cluster=cluster).until(0.1)["lag"] == 2


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 50), st.none() | st.integers(0, 120), st.integers(0, 120))
def test_the_lag_is_never_more_than_the_topic_holds(
    first: int, size: int, before: int | None, after: int
) -> None:
    cluster = FakeCluster({"t": (first, first + size)})
    one = waiting([row(before)], [row(after)], cluster=cluster).until(0)
    position = first if before is None else before
    assert one["lag"] == max(0, first + size - position) * bool(size)


# ── the line ────────────────────────────────────────────────────────────────────────────────────────────────────────


class FakeWatcher:
    def __init__(self, **known: SourceStages) -> None:
        self._known = known

    def stages(self, unfinished: Any) -> dict[str, SourceStages]:
        return {source: self._known[source] for source in unfinished if source in self._known}


EMBEDDING = SourceStages(
    is_known=True, batches=(BatchStage(batch=5, stage="embedding", texts=940),)
)


def line_of(waits: Waiting, **known: SourceStages) -> str:
    watcher: Any = FakeWatcher(**known)
    return waits.progress(watcher)


def test_the_line_says_which_stage_each_batch_is_in() -> None:
    waits = waiting([row(4)], embedded={5: 128})
    assert line_of(waits, s=EMBEDDING) == (
        "4 of 10 records are in the corpus; batch 5: embedding 128 of 940 texts"
    )


def test_without_temporal_the_line_has_what_the_database_says() -> None:
    assert line_of(waiting([row(4)])) == "4 of 10 records are in the corpus"
    assert line_of(waiting([row(4)], embedded={6: 2, 5: 128})) == (
        "4 of 10 records are in the corpus; "
        "batch 5: embedding 128 texts, batch 6: embedding 2 texts"
    )


def test_only_unfinished_sources_are_described() -> None:
    waits = waiting([row(4, source="a"), row(10, source="b")])
    assert "embedding" in line_of(waits, a=EMBEDDING, b=EMBEDDING)
    assert "b:" not in line_of(waits, a=EMBEDDING, b=EMBEDDING)


def test_of_many_sources_those_furthest_behind_are_described() -> None:
    waits = waiting([row(number, source=f"s{number}") for number in range(10)])
    database: Any = waits._connection
    line = line_of(waits, **{f"s{number}": EMBEDDING for number in range(10)})
    assert line.count("embedding") == 5
    assert "; s4: batch 5" in line
    assert line.endswith("; 5 more are behind")
    assert database.counted == ["s0", "s1", "s2", "s3", "s4"]


def test_with_several_sources_each_is_named() -> None:
    waits = waiting([row(4, source="a"), row(3, source="b")])
    line = line_of(waits, a=EMBEDDING, b=SourceStages(is_known=True, staged=1_200))
    assert "; a: batch 5: embedding 0 of 940 texts; b: 1,200 records staged" in line


def test_a_sentence_without_sources() -> None:
    assert progress_sentence(done=0, total=0, sources={}) == "0 of 0 records are in the corpus"
