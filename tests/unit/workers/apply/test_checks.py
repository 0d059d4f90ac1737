"""What `apply` refuses because PostgreSQL or the corpus rules it out.

Also what becomes of sources that are not in the file.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, VersionRule
from tests.support.fake_rows import Database
from workers.apply import checks, sources
from workers.apply.change import Action
from workers.apply.kind import Services, Target
from workers.apply.schedules import FreshnessSchedule, Schedules
from workers.apply.sources import Sources
from workers.config.file import parse


def database(
    *configured: SourceSpec,
    with_documents: tuple[str, ...] = (),
    with_versions: tuple[str, ...] = (),
    retired: tuple[str, ...] = (),
) -> Any:
    rows = [
        {
            "source": spec.source,
            "spec": spec.to_json(),
            "state": "retired" if spec.source in retired else "active",
        }
        for spec in configured
    ]
    return Database(
        sources_configured=rows,
        sources_named=rows,
        text_search_languages=[{"cfgname": "english"}, {"cfgname": "simple"}],
        sources_with_documents=[{"source": source} for source in with_documents],
        sources_with_versions=[{"source": source} for source in with_versions],
    )


def planned(text: str, connection: Any, *, prune: bool = False) -> dict[str, Action]:
    config = parse(text)
    target = Target(config=config, unlisted=sources.unlisted(connection, config), prune=prune)
    checks.check(connection, target)
    nothing: Any = SimpleNamespace()
    services = Services(connection=connection, cluster=nothing, client=nothing)
    changes = asyncio.run(Sources().compare(services, target))
    return {change.name: change.action for change in changes}


def test_a_language_that_postgresql_lacks_is_refused() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"source\.a\.text_search_language = 'klingon' .*it has english, simple",
    ):
        planned('[source.a]\ntext_search_language = "klingon"', database())
    text = '[source.a]\ntext_search_language = "simple"'
    assert planned(text, database()) == {"a": Action.CREATE}


@pytest.mark.parametrize(
    "line",
    [
        'model = "other"',
        'prefix = "passage: "',
        'context = "headings"',
        'text_search_language = "simple"',
    ],
)
def test_what_documents_were_made_with_stays_while_there_are_any(line: str) -> None:
    before, text = SourceSpec(source="a", topics=("a",)), f"[source.a]\n{line}"
    with pytest.raises(
        ConfigurationError, match=rf"source\.a\.{line.split()[0]} cannot change from .* to "
    ):
        planned(text, database(before, with_documents=("a",)))
    assert planned(text, database(before, with_documents=("b",))) == {"a": Action.CHANGE}
    unchanged = planned("[source.a]", database(before, with_documents=("a",)))
    assert unchanged == {"a": Action.UNCHANGED}


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ({}, 'version_rule = "record"'),
        ({"version_rule": VersionRule.RECORD}, 'version_rule = "event"'),
        ({"version_rule": VersionRule.RECORD}, 'version_rule = "own"'),
        ({"version_rule": VersionRule.OWN}, 'version_rule = "event"'),
        ({"version_rule": VersionRule.OFFSET}, ""),
        ({"version_rule": VersionRule.OFFSET}, 'version_rule = "offset"\ntopics = ["a", "b"]'),
    ],
    ids=str,
)
@pytest.mark.parametrize("retired", [(), ("a",)], ids=["active", "retired"])
def test_what_gives_versions_stays_while_the_corpus_knows_any(
    before: dict[str, Any], line: str, retired: tuple[str, ...]
) -> None:
    """Also of deleted documents: their tombstones are compared with later events."""
    spec, text = SourceSpec(source="a", topics=("a",), **before), f"[source.a]\n{line}"
    for known in ({"with_documents": ("a",)}, {"with_versions": ("a",)}):
        with pytest.raises(
            ConfigurationError, match=r"source\.a\.\w+ cannot .* retire this one when"
        ):
            planned(text, database(spec, retired=retired, **known))
    unknown = database(spec, retired=retired, with_documents=("b",), with_versions=("b",))
    assert planned(text, unknown) == {"a": Action.CHANGE}


def test_a_topic_may_be_added_where_versions_are_no_offsets() -> None:
    spec = SourceSpec(source="a", topics=("a",))
    known = database(spec, with_versions=("a",))
    assert planned('[source.a]\ntopics = ["a", "b"]', known) == {"a": Action.CHANGE}


def test_a_loop_with_a_source_that_continues_is_refused() -> None:
    text = '[source.a]\ntopics = ["old.dead-letters"]'
    old = SourceSpec(source="old", topics=("old",))
    with pytest.raises(
        ConfigurationError,
        match=r"continue although .*source\.old\.dead_letter_topic = 'old\.dead-letters'",
    ):
        planned(text, database(old))
    assert planned(text, database(old), prune=True) == {"a": Action.CREATE, "old": Action.RETIRE}
    assert planned(text, database(old, retired=("old",))) == {"a": Action.CREATE}


def test_a_source_that_was_retired_comes_back_with_its_state_in_the_plan() -> None:
    before = SourceSpec(source="a", topics=("a",))
    connection = database(before, retired=("a",))
    config = parse("[source.a.limits]\nmax_records = 7")
    services = Services(connection=connection, cluster=None, client=None)  # type: ignore[arg-type]
    (change,) = asyncio.run(Sources().compare(services, Target(config=config)))
    assert change.action is Action.CHANGE
    assert change.fields == (
        ("state", "retired", "active"),
        ("limits.max_records", before.limits.max_records, 7),
    )


def test_a_pause_is_no_difference() -> None:
    spec = SourceSpec(source="a", topics=("a",))
    rows = [{"source": "a", "spec": spec.to_json(), "state": "paused"}]
    connection: Any = Database(sources_configured=rows)
    assert not sources.read_sources(connection)["a"].is_retired


# ── sources that this version cannot read ───────────────────────────────────────────────────────────────────────────


def with_unreadable(**changed: Any) -> Any:
    """Source `a`, and `newer`, whose specification a newer version wrote."""
    readable = SourceSpec(source="a", topics=("a",)).to_json()
    newer = readable | {"source": "newer", "format": "thrift"} | changed
    rows = [
        {"source": "a", "spec": readable, "state": "active"},
        {"source": "newer", "spec": newer, "state": "active"},
    ]
    return Database(
        sources_configured=rows,
        sources_named=rows,
        text_search_languages=[{"cfgname": "english"}],
        sources_with_documents=[{"source": "newer"}],
    )


def test_one_that_the_file_names_is_written_again() -> None:
    text = "[source.a]\n[source.newer]"
    assert planned(text, with_unreadable())["newer"] is Action.CHANGE


def test_what_its_documents_were_made_with_still_cannot_change() -> None:
    with pytest.raises(ConfigurationError, match=r"source\.newer\.model cannot change from 'e5'"):
        planned("[source.a]\n[source.newer]", with_unreadable(model="e5"))


def test_what_gives_its_versions_still_cannot_change() -> None:
    message = r"source\.newer\.version_rule cannot change from 'content' to 'event'"
    with pytest.raises(ConfigurationError, match=message):
        planned("[source.a]\n[source.newer]", with_unreadable(version_rule="content"))


def test_one_that_the_file_does_not_name_is_left_as_it_is_with_its_schedule() -> None:
    connection = with_unreadable()
    config = parse("[source.a]")
    assert planned("[source.a]", connection)["newer"] is Action.UNLISTED
    unreadable = sources.unreadable(connection, config)
    target = Target(config=config, unreadable=unreadable)
    schedule = FreshnessSchedule("hash")
    assert unreadable == {"newer"}
    assert Schedules().surplus("freshet/newer/freshness", schedule, target) is None
    assert Schedules().surplus("freshet/gone/freshness", schedule, target) is not None
