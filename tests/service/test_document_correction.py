"""`freshet document correct`: a document that an absurd version has frozen lives again, and stays so in a replay."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import ConfigurationError, StalePreparationError
from corpus.source import SourceSpec
from corpus.versions.correction import plan_correction
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import fleet
from tests.support.logins import reader, seen
from tests.support.pipeline import LONG_TEXT, NOW_MS, Pipeline, make_event
from workers.cli.commands.document import correct_document, list_corrections
from workers.cli.console import CommandError

EVENTS = [make_event("a", 3, "three"), make_event("b", 4, "four"), make_event("c", 5, "five")]


@pytest.fixture
def frozen(pipeline: Pipeline) -> Pipeline:
    """Document a has an absurd version, since none was refused at that time."""
    pipeline.spec = replace(pipeline.spec, version_scale="any")
    pipeline.configure()
    pipeline.ingest(*EVENTS)
    pipeline.ingest(make_event("a", NOW_MS, LONG_TEXT))
    pipeline.spec = replace(pipeline.spec, version_scale="auto")
    pipeline.configure()
    assert pipeline.ingest(make_event("a", 6, "six")).dead_lettered == 1
    return pipeline


def test_a_corrected_document_takes_later_versions_again(frozen: Pipeline) -> None:
    before = frozen.visible()
    embedded = frozen.embedder.embedded.total()
    report = frozen.correct("a", NOW_MS, 3)
    assert (report.kind, report.applied, report.documents_written) == ("correction", 1, 1)
    assert frozen.visible() == before | {"a": (3, before["a"][1])}
    assert frozen.search("gauging station", k=1)[0].version == 3
    assert frozen.ingest(make_event("a", 7, "seven")).applied == 1
    assert frozen.visible()["a"] == (7, "seven")
    assert frozen.embedder.embedded.total() == embedded + 1
    # An absurd version is refused again: the mistake is no longer the highest of the source.
    assert frozen.ingest(make_event("b", NOW_MS + 1, "absurd")).dead_lettered == 1


def test_a_replay_of_the_topic_brings_the_mistake_not_back(frozen: Pipeline) -> None:
    frozen.correct("a", NOW_MS, 3)
    content = frozen.visible()["a"][1]
    frozen.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    frozen.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    events = [*EVENTS, make_event("a", NOW_MS, LONG_TEXT), make_event("a", 6, "six")]
    records = frozen.records(events[:4], first_offset=0)
    report = frozen.run(replace(frozen.stage(records), epoch=1))
    assert (report.dead_lettered, report.applied) == (1, 0)
    assert frozen.visible()["a"] == (3, content)
    [[detail]] = frozen.connection.execute(
        "SELECT detail FROM freshet.dead_letter WHERE record_offset = 3"
    ).fetchall()
    assert "was corrected to 3 in batch 4: a mistake" in detail
    rest = frozen.records(events[4:], first_offset=4)
    frozen.run(replace(frozen.stage(rest), epoch=1))
    assert frozen.visible()["a"] == (6, "six")


def test_a_correction_does_not_undo_a_revocation(pipeline: Pipeline) -> None:
    """The mistake has narrowed who may read; the version that it is given existed, and was wide."""
    pipeline.spec = replace(pipeline.spec, version_scale="any")
    pipeline.configure()
    pipeline.ingest(*EVENTS)
    pipeline.ingest(make_event("a", NOW_MS, LONG_TEXT, acl=["hr"]))
    pipeline.correct("a", NOW_MS, 3)
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    pipeline.run(replace(pipeline.stage(pipeline.records(EVENTS, first_offset=0)), epoch=1))
    assert seen(pipeline.connection, reader()) == {"b", "c"}
    assert seen(pipeline.connection, reader("hr")) == {"a", "b", "c"}
    # One that is written after the correction says otherwise.
    later = pipeline.records([make_event("a", 3, "three")], first_offset=9)
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 9")
    pipeline.run(replace(pipeline.stage(later), epoch=1))
    assert seen(pipeline.connection, reader()) == {"a", "b", "c"}


def test_what_was_withdrawn_stays_so(frozen: Pipeline) -> None:
    frozen.spec = replace(frozen.spec, version_scale="any")
    frozen.configure()
    frozen.ingest(make_event("b", NOW_MS, op="delete"))
    frozen.correct("b", NOW_MS, 4)
    assert "b" not in frozen.visible()
    assert frozen.ingest(make_event("b", 4, "four")).superseded == 1
    assert frozen.ingest(make_event("b", 5, "five")).applied == 1
    assert frozen.visible()["b"] == (5, "five")


def test_a_correction_is_carried_out_once(frozen: Pipeline) -> None:
    assert frozen.correct("a", NOW_MS, 3).published_at_ms > 0
    assert frozen.correct("a", NOW_MS, 3).published_at_ms == 0
    assert frozen.correct("none", 5, 3).published_at_ms == 0


def test_a_batch_that_was_prepared_before_the_correction_is_judged_again(frozen: Pipeline) -> None:
    ref = frozen.stage(frozen.records([make_event("a", NOW_MS, LONG_TEXT)]))
    ahead = frozen.prepare([ref], 9)
    frozen.correct("a", NOW_MS, 3)
    frozen.embed(ahead)
    with pytest.raises(StalePreparationError, match="prepare again"):
        frozen.publish([ref], ahead, 9)
    ahead = frozen.prepare([ref], 9)
    assert frozen.publish([ref], ahead, 9).dead_lettered == 1


def test_a_correction_of_the_only_document_leaves_the_scale_unknown(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 2**60, "absurd"))
    pipeline.correct("a", 2**60, 0)
    assert pipeline.ingest(make_event("a", NOW_MS, "a time")).applied == 1
    assert pipeline.ingest(make_event("a", NOW_MS * 1000, "another unit")).dead_lettered == 1


def test_the_plan_chooses_the_newest_version_that_is_far_below(frozen: Pipeline) -> None:
    plan, _ = plan_correction(frozen.connection, "s", "a", None)
    assert (plan.old_version, plan.new_version, plan.state) == (NOW_MS, 3, "visible")
    assert len(plan.dead_letters) == 1
    assert plan_correction(frozen.connection, "s", "a", 5)[0].new_version == 5


@pytest.mark.parametrize(
    ("source", "document", "version", "message"),
    [
        ("x", "a", None, "there is no source 'x'"),
        ("s", "none", None, "no document 'none'"),
        ("s", "a", NOW_MS, "is not below"),
        ("s", "record", None, 'version_rule = "own"'),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    frozen: Pipeline, source: str, document: str, version: int | None, message: str
) -> None:
    frozen.ingest(make_event("record", None, "of its record"))
    with pytest.raises(ConfigurationError, match=message):
        plan_correction(frozen.connection, source, document, version)


def test_a_source_that_is_paused_carries_out_nothing(frozen: Pipeline) -> None:
    frozen.connection.execute("UPDATE freshet.source SET state = 'paused'")
    with pytest.raises(ConfigurationError, match="freshet source resume s"):
        plan_correction(frozen.connection, "s", "a", None)


async def test_the_command_goes_through_the_entity(
    temporal_env: TemporalEnv,
    database_url: str,
    kafka_bootstrap: str,
    tmp_path: Path,
    make_topic: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = await temporal_env.client()
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", client.namespace)
    topic = make_topic()

    def correct(**options: Any) -> Any:
        return asyncio.to_thread(correct_document, "frozen", "a", "unit mistake", **options)

    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as live:
        live.add_source(SourceSpec(source="frozen", topics=(topic,)))
        live.produce(topic, [make_event("a", NOW_MS, "absurd")])
        await live.drained()
        live.produce(topic, [make_event("a", 2, "two")])
        await live.drained()
        assert live.visible("frozen") == {"a": NOW_MS}
        await correct(dry_run=True, as_json=True)
        plan = json.loads(capsys.readouterr().out)
        assert (plan["dry_run"], plan["batch"], plan["new_version"]) == (True, None, 0)
        assert live.visible("frozen") == {"a": NOW_MS}
        await correct()
        assert "corrected in batch 3" in capsys.readouterr().err
        assert live.visible("frozen") == {"a": 0}
        live.produce(topic, [make_event("a", 3, "three")])
        await live.drained()
        assert live.visible("frozen") == {"a": 3}
        live.produce(topic, [make_event("a", NOW_MS, "absurd")])
        await live.drained()
        assert live.visible("frozen") == {"a": 3}
    list_corrections("frozen", as_json=True)
    [row] = json.loads(capsys.readouterr().out)
    assert (row["old_version"], row["new_version"], row["reason"]) == (NOW_MS, 0, "unit mistake")
    assert "@" in row["requested_by"]
    with pytest.raises(CommandError, match="--reason"):
        correct_document("frozen", "a", "two\nlines")
