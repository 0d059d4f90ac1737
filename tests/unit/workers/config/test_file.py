"""freshet.toml: what is read, and how a mistake is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, VersionRule
from workers.config.file import load, parse, schema
from workers.config.values import seconds, size

EXAMPLE = Path(__file__).parents[4] / "examples" / "peps" / "freshet.toml"


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
    assert (spec.topics, spec.version_rule, spec.limits.linger_ms, spec.limits.max_bytes) == (
        ("x", "y"),
        VersionRule.OFFSET,
        250,
        524_288,
    )
    assert (spec.pipeline.max_document_bytes, spec.pipeline.clean_timeout_seconds) == (1_500_000, 2)
    assert (spec.freshness.warn_after_seconds, spec.freshness.expire_after_seconds) == (
        5_400,
        2_592_000,
    )
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
        (
            '[source.a.freshness]\nwarn_after = "3 parsecs"',
            ["source.a.freshness.warn_after", "3 parsecs", "30d"],
        ),
        (
            '[source.a.freshness]\nwarn_after = "3d"\nerror_after = "1d"',
            ["source.a.freshness", "warn_after"],
        ),
        ('[source.a]\nformat = "xml"', ["source.a.format", "xml", "native"]),
        ("[source.a]\ntopics = []", ["source.a.topics", "at least 1"]),
        ('[source.a]\ntopics = ["t", "t"]', ["source.a", "twice"]),
        ('[source.a]\ndead_letter_topic = "a b"', ["source.a.dead_letter_topic", "a b"]),
        ('[source.a]\ntopics = ["d"]\ndead_letter_topic = "d"', ["for ever"]),
        (
            '[subscriber.b]\nsources = ["q"]\nendpoint = "team"\nnamespace = "n"\ntask_queue = "t"',
            ["subscriber.b.sources", "'q'"],
        ),
        ('[subscriber.b]\nsources = ["q"]', ["subscriber.b.endpoint is missing"]),
        ("[source.a.limits]\nmax_records = 0", ["source.a.limits.max_records", "0"]),
        ("[source.a.limits]\nmax_records = true", ["source.a.limits.max_records"]),
        (f"x = {'9' * 5_000}", ["not TOML that can be read"]),
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


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "my.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[source.a]\ntopics = ["t", "t.dead-letters"]',
        '[source.a]\ntopics = ["t", "d"]\ndead_letter_topic = "d"',
        '[source.a]\n[source.b]\ntopics = ["a.dead-letters"]',
        '[source.b]\ntopics = ["a.dead-letters"]\n[source.a]',
        '[source.a]\n[source.b]\ndead_letter_topic = "a"',
        '[source.a]\n[source."a.dead-letters"]',
    ],
)
def test_no_source_reads_dead_letters(text: str) -> None:
    assert "for ever" in refused(text)
    assert ".dead_letter_topic = '" in refused(text)


def test_dead_letters_of_two_sources_may_share_a_topic() -> None:
    assert (
        len(
            parse(
                '[source.a]\ndead_letter_topic = "dead"\n[source.b]\ndead_letter_topic = "dead"'
            ).sources
        )
        == 2
    )


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
        ("pipeline", f"max_tokens = {2**63}"),
        ("pipeline", 'content_type = "text/\\u0000"'),
        ("limits", f"max_records = {2**63}"),
        ("limits", f"max_bytes = {2**63}"),
        ("limits", "linger = inf"),
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


def test_a_prefix_holds_no_nul() -> None:
    assert 'source.a.prefix = "a\\u0000"' in refused('[source.a]\nprefix = "a\\u0000"')


@pytest.mark.parametrize(
    "name", [".", "..", "a b", "ü", "", "x" * 250, "__consumer_offsets", "a\\n"]
)
def test_topics_that_kafka_refuses(name: str) -> None:
    assert "source.a.topics.0" in refused(f'[source.a]\ntopics = ["{name}"]')
    assert "source.a.dead_letter_topic" in refused(f'[source.a]\ndead_letter_topic = "{name}"')


def test_a_topic_needs_room_for_its_dead_letters() -> None:
    text = f'[source.a]\ntopics = ["{"x" * 240}"]\n'
    assert "source.a.dead_letter_topic" in refused(text)
    assert parse(text + 'dead_letter_topic = "dead"').sources


@pytest.mark.parametrize(
    "text",
    [
        '[source.a]\ntopics = ["a.b", "a_b"]',
        '[source."a.b"]\n[source.a_b]',
        '[source.a]\n[source.b]\ntopics=["a_dead-letters"]',
    ],
)
def test_topics_that_are_one_to_kafka(text: str) -> None:
    assert "are one to Kafka" in refused(text)


TEAM = '[source.a]\n[subscriber.one]\nsources = {sources}\nendpoint = "{endpoint}"\nnamespace = "{namespace}"\ntask_queue = "{queue}"\n'


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"namespace": "n n/"}, "subscriber.one.namespace"),
        ({"namespace": " "}, "subscriber.one.namespace"),
        ({"queue": " "}, "subscriber.one.task_queue"),
        ({"endpoint": "team-"}, "subscriber.one.endpoint"),
        ({"endpoint": "freshet-corpus"}, "Freshet's own"),
        ({"sources": '["a", "a"]'}, "names a source twice"),
    ],
)
def test_subscribers_that_cannot_be_meant(change: dict[str, str], told: str) -> None:
    fields = {"sources": '["a"]', "endpoint": "team", "namespace": "team", "queue": "q"}
    assert parse(TEAM.format(**fields)).subscribers
    assert told in refused(TEAM.format(**(fields | change)))


@pytest.mark.parametrize(
    ("namespace", "queue", "told"),
    [("other", "q", "subscriber.two.namespace = 'other'"), ("team", "p", "two.task_queue = 'p'")],
)
def test_an_endpoint_has_one_target(namespace: str, queue: str, told: str) -> None:
    one = TEAM.format(sources='["a"]', endpoint="team", namespace="team", queue="q")
    two = '[subscriber.two]\nsources = ["a"]\nendpoint = "team"\n'
    assert len(parse(f'{one}{two}namespace = "team"\ntask_queue = "q"').subscribers) == 2
    assert told in refused(f'{one}{two}namespace = "{namespace}"\ntask_queue = "{queue}"')


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
    ],
)
def test_limits_that_contradict_each_other(text: str, told: str) -> None:
    assert told in refused(text)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30d", 2_592_000), ("1h30m", 5_400), ("250ms", 0.25), ("1.5s", 1.5), (7, 7)],
)
def test_durations(text: Any, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1y", True, [1]])
def test_no_durations(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8MB", 8_000_000), ("1kib", 1024), ("12", 12), (5, 5), ("0.5 GB", 500_000_000)],
)
def test_sizes(text: Any, expected: int) -> None:
    assert size(text) == expected


def test_the_schema_knows_every_setting() -> None:
    described = json.dumps(schema())
    for name in ("topics", "max_document_bytes", "linger", "warn_after", "endpoint"):
        assert f'"{name}"' in described
    assert schema()["additionalProperties"] is False
