"""A source's specification survives the database, also between two versions of the code."""

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import UnreadableSpecError
from corpus.preparation import PreparationSpec
from corpus.source import (
    BatchLimits,
    FreshnessSpec,
    SourceSpec,
    VersionRule,
    read_specs,
    source_workflow_id,
)

# What the first version stored for a source without any setting; its rows must be read for ever.
STORED: dict[str, Any] = {
    "source": "s",
    "topics": ["t"],
    "format": "native",
    "model": "all-MiniLM-L6-v2",
    "prefix": "",
    "version_rule": "event",
    "text_search_language": "english",
    "dead_letter_topic": None,
    "pipeline": {
        "content_type": None,
        "unknown_content_type": "reject",
        "html": "main",
        "chunker": "structure",
        "max_tokens": None,
        "min_tokens": 32,
        "max_document_bytes": 32_000_000,
        "max_chunks": 50_000,
        "max_nesting": 512,
        "clean_timeout_seconds": 60.0,
    },
    "limits": {
        "max_records": 5_000,
        "max_bytes": 8_000_000,
        "linger_ms": 0,
        "max_in_flight": 3,
        "max_pending_records": 20_000,
        "max_pending_bytes": 64_000_000,
    },
    "freshness": {
        "warn_after_seconds": None,
        "error_after_seconds": None,
        "expire_after_seconds": None,
        "check_every_seconds": 300,
        "max_expiry_ratio": 0.5,
    },
}
DEFAULT = SourceSpec(source="s", topics=("t",))
SECONDS = st.none() | st.integers(1, 10**9)
SPECS = st.builds(
    SourceSpec,
    source=st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,10}", fullmatch=True),
    topics=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
    version_rule=st.sampled_from(VersionRule),
    pipeline=st.builds(
        PreparationSpec, max_tokens=st.none() | st.integers(16, 512), html=st.just("all")
    ),
    limits=st.builds(BatchLimits, max_records=st.integers(1, 10_000)),
    freshness=st.builds(FreshnessSpec, expire_after_seconds=SECONDS, warn_after_seconds=SECONDS),
)


def test_what_the_first_version_stored_is_the_default() -> None:
    assert SourceSpec.from_json(STORED) == DEFAULT


def test_what_is_stored_still_has_what_the_first_version_reads() -> None:
    stored = json.loads(json.dumps(DEFAULT.to_json()))
    assert stored.keys() >= STORED.keys()
    for name, value in STORED.items():
        if isinstance(value, dict):
            assert stored[name].items() >= value.items()
        else:
            assert stored[name] == value


@given(SPECS)
def test_a_specification_comes_back_from_json(spec: SourceSpec) -> None:
    assert SourceSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_old_code_leaves_out_what_newer_code_stored() -> None:
    newer = STORED | {"added": 1}
    for part in ("pipeline", "limits", "freshness"):
        newer[part] = STORED[part] | {"added": {"nested": True}}
    assert SourceSpec.from_json(newer) == DEFAULT


def test_new_code_has_defaults_for_what_older_code_did_not_store() -> None:
    assert SourceSpec.from_json({"source": "s", "topics": ["t"]}) == DEFAULT
    assert SourceSpec.from_json({"source": "s", "topics": ["t"], "limits": {}}) == DEFAULT


def test_an_unknown_version_rule_is_refused() -> None:
    """A wrong rule would lose data silently."""
    with pytest.raises(ValueError, match="newest"):
        SourceSpec.from_json(STORED | {"version_rule": "newest"})


@pytest.mark.parametrize(
    "changed",
    [
        {"version_rule": "content"},
        {"format": "thrift"},
        {"topics": None},
        {"topics": "t"},
        {"topics": []},
        {"topics": ["t", 1]},
        {"limits": []},
        {"limits": {"max_records": "many"}},
        {"limits": {"max_records": 0}},
        {"limits": {"max_records": True}},
        {"limits": {"linger_ms": [1]}},
        {"pipeline": {"html": "new"}},
        {"freshness": {"expire_after_seconds": -1}},
    ],
    ids=str,
)
def test_what_this_version_cannot_read_is_one_error(changed: dict[str, Any]) -> None:
    """A guess would decode, cut or expire documents by another rule than the configured one."""
    with pytest.raises(UnreadableSpecError, match="newer version of Freshet wrote it"):
        SourceSpec.from_json(STORED | changed)


def test_one_specification_that_cannot_be_read_keeps_no_other_from_being_read() -> None:
    damaged: list[Any] = [None, [], "spec", {}, STORED | {"source": "another"}]
    rows = [("s", STORED), *((f"damaged-{n}", spec) for n, spec in enumerate(damaged))]
    stored = read_specs(rows)
    assert stored.specs == {"s": DEFAULT}
    assert list(stored.unreadable) == [f"damaged-{n}" for n in range(len(damaged))]


@pytest.mark.parametrize("kind", [SourceSpec, PreparationSpec, BatchLimits, FreshnessSpec])
def test_a_duration_or_a_size_names_its_unit(kind: type[Any]) -> None:
    words = ("after", "every", "timeout", "linger")
    for declared in fields(kind):
        if any(word in declared.name for word in words):
            assert declared.name.endswith(("_seconds", "_ms")), declared.name


def test_dead_letters_go_to_a_topic_beside_the_first_unless_one_is_configured() -> None:
    assert SourceSpec(source="s", topics=("t", "u")).dead_letters_to() == "t.dead-letters"
    other = SourceSpec(source="s", topics=("t",), dead_letter_topic="d")
    assert other.dead_letters_to() == "d"


def test_the_workflow_id_is_stable() -> None:
    assert source_workflow_id("s") == "source:s"
