"""A version far beyond its source's scale freezes no document, and two scales are named where they meet."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.errors import StalePreparationError
from corpus.source import VersionRule
from ingest.event import KafkaRecord
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import NOW_MS, Pipeline, make_event

MAX = 2**63 - 1
Letters = list[tuple[str, str]]


def letters(pipeline: Pipeline) -> Letters:
    """(document, reason) of each dead letter, in the order of their records."""
    return pipeline.connection.execute(
        "SELECT document_id, reason FROM freshet.dead_letter WHERE source = %s ORDER BY record_offset",
        (pipeline.spec.source,),
    ).fetchall()


def detail(pipeline: Pipeline) -> str:
    row = pipeline.connection.execute(
        "SELECT detail FROM freshet.dead_letter ORDER BY dead_letter DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    return str(row[0])


def highest(pipeline: Pipeline) -> int:
    row = pipeline.connection.execute("SELECT highest_version FROM freshet.source").fetchone()
    assert row is not None
    return int(row[0])


def configure(pipeline: Pipeline, **spec: Any) -> None:
    pipeline.spec = replace(pipeline.spec, **spec)
    pipeline.configure()


def redriven(pipeline: Pipeline, offset: int) -> KafkaRecord:
    """The record of a dead letter, as a redrive would send it again."""
    row = pipeline.connection.execute(
        "SELECT key, value, record_at FROM freshet.dead_letter WHERE record_offset = %s", (offset,)
    ).fetchone()
    assert row is not None
    at_ms = round(row[2].timestamp() * 1000)
    return KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=at_ms, key=row[0], value=row[1]
    )


# ── far beyond ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize(
    ("ordinary", "absurd"),
    [
        ((1, 2, 3), MAX),
        ((1, 2, 3), NOW_MS),
        ((1, 2, 3), NOW_MS // 1000),
        ((NOW_MS, NOW_MS + 1, NOW_MS + 2), NOW_MS * 1000),
        ((NOW_MS, NOW_MS + 1, NOW_MS + 2), MAX),
    ],
    ids=str,
)
def test_an_absurd_version_freezes_no_document(
    pipeline: Pipeline, ordinary: tuple[int, ...], absurd: int, together: bool
) -> None:
    first, second, third = ordinary
    events = [
        make_event("a", first, "one"),
        make_event("b", first, "b"),
        make_event("a", absurd, "absurd"),
        make_event("b", absurd, op="delete"),
        make_event("a", second, "two"),
        make_event("b", third, "three"),
    ]
    if together:
        pipeline.ingest(*events)
    else:
        for event in events:
            pipeline.ingest(event)
    assert pipeline.visible() == {"a": (second, "two"), "b": (third, "three")}
    assert letters(pipeline) == [("a", "version_beyond_scale"), ("b", "version_beyond_scale")]
    assert highest(pipeline) == third
    assert 'version_scale = "any"' in detail(pipeline)


def test_growth_of_every_kind_goes_through(pipeline: Pipeline) -> None:
    """A counter that starts; a snapshot at one position of a log, then changes far behind it."""
    gigabyte = 2**30
    for version in (0, 1, 100_000, 16 * 2**20, 20 * gigabyte, 110 * gigabyte, 2_000 * gigabyte):
        assert pipeline.ingest(make_event("a", version, f"v{version}")).applied == 1
    assert pipeline.ingest(make_event("new", 1, "of a low version")).applied == 1
    assert letters(pipeline) == []


def test_a_refused_version_is_accepted_after_a_decision(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    pipeline.ingest(make_event("a", NOW_MS, "right after all"))
    assert pipeline.visible() == {"a": (1, "one")}
    configure(pipeline, version_scale="any")
    pipeline.ingest(redriven(pipeline, 1))
    assert pipeline.visible() == {"a": (NOW_MS, "right after all")}
    configure(pipeline, version_scale="auto")
    assert pipeline.ingest(make_event("a", NOW_MS + 5, "next")).applied == 1


def test_the_highest_version_is_what_the_documents_have_where_none_was_kept(
    pipeline: Pipeline,
) -> None:
    """As after the migration."""
    pipeline.ingest(make_event("a", 7, "seven"), make_event("b", None, "of its record"))
    pipeline.connection.execute("UPDATE freshet.source SET highest_version = NULL")
    assert pipeline.ingest(make_event("a", NOW_MS, "absurd")).dead_lettered == 1
    assert highest(pipeline) == 7


def test_a_batch_that_was_prepared_before_the_first_was_published_is_judged_again(
    pipeline: Pipeline,
) -> None:
    first = pipeline.stage(pipeline.records([make_event("a", 1, "one")]))
    second = pipeline.stage(pipeline.records([make_event("b", NOW_MS, "absurd")]))
    ahead = pipeline.prepare([second], 2)
    pipeline.run(first)
    pipeline.embed(ahead)
    with pytest.raises(StalePreparationError, match="highest version"):
        pipeline.publish([second], ahead, 2)
    assert pipeline.run(second).dead_lettered == 1


@pytest.mark.parametrize("version", [0, 12, NOW_MS // 1000, NOW_MS * 1000, MAX])
def test_a_source_of_times_takes_no_other_number(pipeline: Pipeline, version: int) -> None:
    """Whatever it has accepted before: the first event is judged like any other."""
    configure(pipeline, version_scale="milliseconds")
    report = pipeline.ingest(make_event("a", version, "no time"), make_event("b", None, "b"))
    assert (report.dead_lettered, report.applied) == (1, 1)
    assert letters(pipeline) == [("a", "version_beyond_scale")]
    pipeline.ingest(make_event("a", NOW_MS, "a time"))
    assert pipeline.visible()["a"] == (NOW_MS, "a time")


def test_a_document_that_an_absurd_version_froze_first_is_named(pipeline: Pipeline) -> None:
    """Nothing was known of the source; its next ordinary version says what is wrong."""
    pipeline.ingest(make_event("a", NOW_MS, "absurd"))
    report = pipeline.ingest(make_event("a", 2, "two"), make_event("b", 1, "b"))
    assert (report.dead_lettered, report.superseded, report.applied) == (1, 0, 1)
    assert "freshet document correct --source s" in detail(pipeline)


def test_a_replay_of_a_log_that_grew_far_is_superseded(pipeline: Pipeline) -> None:
    """The position goes back to the beginning: the old version was written before the head."""
    records = pipeline.records(
        [make_event("a", version, f"v{version}") for version in (16 * 2**20, 90 * 2**30, 2**43)]
    )
    pipeline.run(pipeline.stage(records))
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    report = pipeline.run(replace(pipeline.stage(records), epoch=1))
    assert (report.superseded, report.unchanged, report.dead_lettered) == (2, 1, 0)


# ── two scales ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "a batch each"])
def test_a_producer_that_begins_to_send_versions_is_named(
    pipeline: Pipeline, together: bool
) -> None:
    events = [
        make_event("a", None, "old"),
        make_event("b", None, "old"),
        make_event("a", 1, "one"),
        make_event("b", 1, op="delete"),
        make_event("a", 2, "two"),
        make_event("c", 1, "new"),
    ]
    if together:
        pipeline.ingest(*events)
    else:
        for event in events:
            pipeline.ingest(event)
    assert pipeline.texts() == {
        "a": "old",
        "b": "old",
        "c": "new",
    }
    assert letters(pipeline) == [("a", "two_scales"), ("b", "two_scales"), ("a", "two_scales")]
    assert 'version_rule = "own"' in detail(pipeline)

    configure(pipeline, version_rule=VersionRule.OWN)
    pipeline.ingest(*(redriven(pipeline, offset) for offset in (4, 3, 2)))
    assert pipeline.visible() == {"a": (2, "two"), "c": (1, "new")}
    # A replay of the whole log brings back nothing.
    pipeline.ingest(*events[:2])
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    records = pipeline.records(events, first_offset=0)
    pipeline.run(replace(pipeline.stage(records), epoch=1))
    assert pipeline.visible() == {"a": (2, "two"), "c": (1, "new")}


def test_an_event_without_a_version_after_one_with_is_named(pipeline: Pipeline) -> None:
    configure(pipeline, version_rule=VersionRule.OWN)
    pipeline.ingest(make_event("a", 5, "five"))
    report = pipeline.ingest(make_event("a", None, "no version"))
    assert (report.dead_lettered, pipeline.visible()) == (1, {"a": (5, "five")})
    assert letters(pipeline) == [("a", "two_scales")]
    assert pipeline.ingest(make_event("a", 6, op="delete")).documents_deleted == 1


def test_a_batch_that_was_prepared_before_the_scales_met_is_judged_again(
    pipeline: Pipeline,
) -> None:
    first = pipeline.stage(pipeline.records([make_event("a", None, "old")]))
    second = pipeline.stage(pipeline.records([make_event("a", 5, "five")]))
    ahead = pipeline.prepare([second], 2)
    pipeline.run(first)
    pipeline.embed(ahead)
    with pytest.raises(StalePreparationError, match="another scale"):
        pipeline.publish([second], ahead, 2)
    assert pipeline.run(second).dead_lettered == 1


def test_an_event_that_gives_way_lets_the_other_scale_count(
    database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    """The event without a version cannot be used, so no scales meet, as if each came in a batch of its own."""
    with Pipeline(database_url, tmp_path, cleaner=cleaner) as pipeline:
        bad = make_event("a", None, "x", content_type="application/pdf")
        pipeline.ingest(bad, make_event("a", 1, "one"))
        assert pipeline.visible() == {"a": (1, "one")}
        assert [reason for _, reason in letters(pipeline)] == ["unsupported_content"]


# ── whatever comes, in whatever order ───────────────────────────────────────────────────────────────────────────────

DRAWN: list[Callable[[random.Random], int | None]] = [
    *([lambda chance: chance.randrange(1, 40)] * 12),
    lambda chance: None,
    lambda chance: chance.choice([MAX, MAX - 3, 2**62]),
    lambda chance: NOW_MS + chance.randrange(1_000),
    lambda chance: (NOW_MS + chance.randrange(1_000)) * 1_000,
]


def _histories(seed: int) -> list[list[dict[str, Any]]]:
    """Events of four documents, cut into batches."""
    chance = random.Random(seed)
    batches: list[list[dict[str, Any]]] = []
    for number in range(chance.randrange(3, 9)):
        batch: list[dict[str, Any]] = []
        for place in range(chance.randrange(1, 6)):
            version = chance.choice(DRAWN)(chance)
            name, text = chance.choice("abcd"), f"text {number}.{place}"
            batch.append(make_event(name, version, text))
        batches.append(batch)
    return batches


@pytest.mark.parametrize("rule", [VersionRule.EVENT, VersionRule.OWN])
@pytest.mark.parametrize("seed", range(6))
def test_the_corpus_is_the_newest_of_what_was_not_refused(
    database_url: str, tmp_path: Path, cleaner: Cleaner, seed: int, rule: VersionRule
) -> None:
    """And what was refused is named, one letter per event; no version that was written last is silently superseded."""
    print(f"seed {seed}")
    embedder = HashEmbedder()
    with Pipeline(
        database_url, tmp_path, cleaner=cleaner, embedder=embedder, version_rule=rule
    ) as pipeline:
        sent: list[dict[str, Any]] = []
        outcomes: Counter[str] = Counter()
        for batch in _histories(seed):
            sent += batch
            report = pipeline.ingest(*batch)
            outcomes["records"] += report.records
            outcomes["dead"] += report.dead_lettered
        refused = pipeline.connection.execute(
            "SELECT record_offset FROM freshet.dead_letter"
        ).fetchall()
        assert outcomes["dead"] == len(refused)
        offsets = {row[0] for row in refused}
        newest: dict[str, tuple[tuple[bool, int], str]] = {}
        for offset, event in enumerate(sent):
            own = event.get("version")
            if offset in offsets:
                continue
            rank = (rule is VersionRule.OWN and own is not None, own or (NOW_MS + offset) << 20)
            known = newest.get(event["id"])
            if known is None or rank > known[0]:
                newest[event["id"]] = (rank, event["content"])
        visible = pipeline.texts()
        assert visible == {name: text for name, (_, text) in newest.items()}
        assert not {event["id"] for event in sent if event.get("version") == MAX} & {
            name for name, (version, _) in pipeline.visible().items() if version == MAX
        }
