"""freshet.toml: what is read, and how a mistake is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, VersionRule
from workers.config import load, parse, schema, seconds, size

EXAMPLE = Path(__file__).parents[3] / "examples" / "peps" / "freshet.toml"


def test_the_example_is_valid() -> None:
    config = load(EXAMPLE)
    assert [spec.source for spec in config.sources][:1] == ["peps"]
    assert config.partitions["peps"] == 3


def test_defaults_are_those_of_the_specification() -> None:
    assert parse("[source.a]").sources == (SourceSpec(source="a", topics=("a",)),)


def test_a_source_survives_the_database() -> None:
    text = """
        [source.a]
        topics = ["x", "y"]
        format = "text"
        version_rule = "offset"
        [source.a.pipeline]
        max_document_bytes = "1.5MB"
        clean_timeout = "2s"
        [source.a.limits]
        linger = "250ms"
        max_bytes = "512KiB"
        [source.a.freshness]
        warn_after = "1h30m"
        expire_after = "30d"
        [subscriber.team]
        sources = ["a"]
        endpoint = "team"
        namespace = "team"
        task_queue = "q"
    """
    config = parse(text)
    (spec,) = config.sources
    assert SourceSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert (spec.topics, spec.version_rule, spec.limits.linger_ms, spec.limits.max_bytes) == (("x", "y"), VersionRule.OFFSET, 250, 524_288)
    assert (spec.pipeline.max_document_bytes, spec.pipeline.clean_timeout_seconds) == (1_500_000, 2)
    assert (spec.freshness.warn_after_seconds, spec.freshness.expire_after_seconds) == (5_400, 2_592_000)
    assert (config.subscribers[0].subscriber, config.subscribers[0].sources) == ("team", ("a",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x =", ["not TOML"]),
        ("[sauce.a]", ["sauce is not a setting", "source, subscriber"]),
        ("[source.A]", ["source.A", "does not match"]),
        ("[source.a]\nfoo = 1", ["source.a.foo is not a setting", "topics"]),
        ("[source.a.limits]\nmax_recs = 1", ["source.a.limits.max_recs", "max_records"]),
        ('[source.a.limits]\nmax_bytes = "8 XB"', ["source.a.limits.max_bytes", "8 XB", "8MB"]),
        ('[source.a.freshness]\nwarn_after = "3 parsecs"', ["source.a.freshness.warn_after", "3 parsecs", "30d"]),
        ('[source.a.freshness]\nwarn_after = "3d"\nerror_after = "1d"', ["source.a.freshness", "warn_after"]),
        ('[source.a]\nformat = "xml"', ["source.a.format", "xml", "native"]),
        ("[source.a]\ntopics = []", ["source.a.topics", "at least 1"]),
        ('[source.a]\ntopics = ["t", "t"]', ["source.a", "twice"]),
        ('[source.a]\ndead_letter_topic = "a b"', ["source.a.dead_letter_topic", "a b"]),
        ('[source.a]\ntopics = ["d"]\ndead_letter_topic = "d"', ["for ever"]),
        ('[subscriber.b]\nsources = ["q"]\nendpoint = "e"\nnamespace = "n"\ntask_queue = "t"', ["subscriber.b.sources", "'q'"]),
        ('[subscriber.b]\nsources = ["q"]', ["subscriber.b.endpoint is missing"]),
        ("[source.a.limits]\nmax_records = 0", ["source.a.limits.max_records", "0"]),
        ("[source.a.limits]\nmax_records = true", ["source.a.limits.max_records"]),
    ],
)
def test_a_mistake_names_file_field_and_what_is_allowed(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml")
    assert "\n" not in message.replace("(at end of document)", "")
    for word in words:
        assert word in message


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(("text", "expected"), [("30d", 2_592_000), ("1h30m", 5_400), ("250ms", 0.25), ("1.5s", 1.5), (7, 7)])
def test_durations(text: Any, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1y", True, [1]])
def test_no_durations(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@pytest.mark.parametrize(("text", "expected"), [("8MB", 8_000_000), ("1kib", 1024), ("12", 12), (5, 5), ("0.5 GB", 500_000_000)])
def test_sizes(text: Any, expected: int) -> None:
    assert size(text) == expected


def test_the_schema_knows_every_setting() -> None:
    described = json.dumps(schema())
    for name in ("topics", "max_document_bytes", "linger", "warn_after", "endpoint"):
        assert f'"{name}"' in described
    assert schema()["additionalProperties"] is False
