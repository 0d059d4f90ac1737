"""The tables of freshet.toml: their bounds, and that they are those of the specifications."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.deliver.subscription import SubscriberSpec
from corpus.preparation import PreparationSpec
from corpus.retention.spec import RetentionSpec
from corpus.source import AuditSpec, BatchLimits, FreshnessSpec, SourceSpec
from tests.support.refusing import refused
from workers.config import tables
from workers.config.explain import explain
from workers.config.file import parse


@pytest.mark.parametrize(
    ("table", "setting"),
    [
        ("freshness", "warn_after = inf"),
        ("freshness", "warn_after = nan"),
        ("freshness", f'error_after = "{"9" * 400}d"'),
        ("freshness", 'expire_after = "99999999999999d"'),
        ("freshness", f"check_every = {'9' * 400}"),
        ("pipeline", "clean_timeout = inf"),
        ("pipeline", 'clean_timeout = "30d"'),
        ("pipeline", f'max_document_bytes = "{"9" * 400}GB"'),
        ("pipeline", f"max_chunks = {2**63}"),
        ("pipeline", "max_pages = 0"),
        ("pipeline", f'max_unpacked_bytes = "{"9" * 400}GB"'),
        ("pipeline", f"max_tokens = {2**63}"),
        ("pipeline", 'content_type = "text/\\u0000"'),
        ("limits", f"max_records = {2**63}"),
        ("limits", f"max_bytes = {2**63}"),
        ("limits", "linger = inf"),
        ("retention", 'history = "40000d"'),
        ("retention", 'history = "for ever"'),
        ("retention", "dead_letters = 0"),
        ("retention", 'staged_files = "1m"'),
    ],
)
def test_what_is_too_much_is_named(table: str, setting: str) -> None:
    assert refused(f"[source.a.{table}]\n{setting}").startswith(
        f"my.toml: source.a.{table}.{setting.split()[0]} = "
    )


def test_a_century_is_a_duration() -> None:
    assert (
        parse('[source.a.freshness]\nexpire_after = "36525d"')
        .sources[0]
        .freshness.expire_after_seconds
        == 36_525 * 86_400
    )


def test_forever_is_an_age() -> None:
    [kept] = parse('[source.a.retention]\nhistory = "30d"\ndead_letters = "forever"').sources
    assert kept.retention.history_seconds == 30 * 86_400
    assert kept.retention.dead_letters_seconds is None
    assert SourceSpec.from_json(kept.to_json()) == kept


def test_a_prefix_holds_no_nul() -> None:
    assert 'source.a.prefix = "a\\u0000"' in refused('[source.a]\nprefix = "a\\u0000"')


@pytest.mark.parametrize(
    "name", [".", "..", "a b", "ü", "", "x" * 250, "__consumer_offsets", "a\\n"]
)
def test_topics_that_kafka_refuses(name: str) -> None:
    assert "source.a.topics.0" in refused(f'[source.a]\ntopics = ["{name}"]')
    assert "source.a.dead_letter_topic" in refused(f'[source.a]\ndead_letter_topic = "{name}"')


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[source.a.pipeline]\nmax_tokens = 64\nmin_tokens = 65",
            "max_tokens (64) must not be less than min_tokens (65)",
        ),
        (
            "[source.a.limits]\nmax_records = 30000",
            "max_pending_records (20000) must not be less than max_records (30000)",
        ),
        (
            '[source.a.limits]\nmax_pending_bytes = "1MB"',
            "max_pending_bytes (1000000) must not be less than max_bytes (8000000)",
        ),
        (
            '[source.a.freshness]\nexpire_after = "3d"\n[source.a.retention]\nhistory = "2d"',
            "retention.history (172800 s) must not be shorter than freshness.expire_after (259200 s)",
        ),
    ],
)
def test_limits_that_contradict_each_other(text: str, told: str) -> None:
    assert told in refused(text)


# Fields whose name in the file differs: its unit is written with the value.
RENAMED = {
    "clean_timeout_seconds": "clean_timeout",
    "linger_ms": "linger",
    "warn_after_seconds": "warn_after",
    "error_after_seconds": "error_after",
    "expire_after_seconds": "expire_after",
    "check_every_seconds": "check_every",
    **{
        f"{name}_seconds": name
        for name in (
            *("history", "dead_letters", "open_dead_letters", "notices", "reports", "audits"),
            *("embeddings", "staged_files", "every"),
        )
    },
}


@pytest.mark.parametrize(
    ("specification", "table", "beside"),
    [
        (PreparationSpec, tables.PreparationTable, set()),
        (BatchLimits, tables.LimitsTable, set()),
        (FreshnessSpec, tables.FreshnessTable, set()),
        (AuditSpec, tables.AuditTable, set()),
        (RetentionSpec, tables.RetentionTable, set()),
        (SourceSpec, tables.SourceTable, {"partitions"}),
        (SubscriberSpec, tables.SubscriberTable, set()),
    ],
)
def test_a_table_has_the_fields_of_its_specification(
    specification: Any, table: type[tables.Table], beside: set[str]
) -> None:
    """A field that is added to a specification can be written in the file, or this says that it cannot."""
    declared = {RENAMED.get(field.name, field.name) for field in fields(specification)}
    named_by_its_table = {"source", "subscriber"}
    assert set(table.model_fields) - beside == declared - named_by_its_table


KEYS = st.one_of(
    st.sampled_from(["source", "a", "limits", "topics", "max_bytes"]), st.text(max_size=4)
)

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_tables_are_valid_or_explained(tables_of_file: dict[str, Any]) -> None:
    """Whatever TOML can hold, and more: every error of the validation has words."""
    try:
        tables.ConfigFile.model_validate(tables_of_file)
    except ValidationError as caught:
        for error in caught.errors():
            assert explain(error)


def test_defaults_are_those_of_the_specification() -> None:
    assert parse("[source.a]").sources == (SourceSpec(source="a", topics=("a",)),)
