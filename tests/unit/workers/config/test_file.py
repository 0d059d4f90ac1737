"""freshet.toml: what is read, and how a mistake is told."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec, VersionRule
from tests.support.refusing import refused
from workers.config.file import load, parse, schema

EXAMPLES = Path(__file__).parents[4] / "examples"
EXAMPLE = EXAMPLES / "peps" / "freshet.toml"
SCHEMA = EXAMPLES / "freshet.schema.json"


def test_the_example_is_valid() -> None:
    config = load(EXAMPLE)
    assert [spec.source for spec in config.sources][:1] == ["peps"]
    assert config.partitions["peps"] == 3


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


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_the_schema_knows_every_setting() -> None:
    described = json.dumps(schema())
    for name in ("topics", "max_document_bytes", "linger", "warn_after", "endpoint"):
        assert f'"{name}"' in described
    assert schema()["additionalProperties"] is False


def test_the_committed_schema_is_current() -> None:
    """Editors read it; one line makes it again."""
    current = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    assert SCHEMA.read_text(encoding="utf-8") == current, (
        "run: python -m workers config schema > examples/freshet.schema.json"
    )


@pytest.mark.parametrize(
    "file", sorted(EXAMPLES.rglob("freshet.toml")), ids=lambda p: p.parent.name
)
def test_an_example_names_its_schema(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("#:schema ")
    assert (file.parent / first.removeprefix("#:schema ")).resolve() == SCHEMA


def test_the_schema_takes_what_the_parser_takes(tmp_path: Path) -> None:
    """An editor marks nothing that `freshet apply` accepts."""
    document = tmp_path / "freshet.json"
    document.write_text(json.dumps(tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))))
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(SCHEMA), str(document)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[source.a]\n[source.a]", "not TOML"),
        ('[source.a]\nmodel = "x"\nmodel = "y"', "not TOML"),
        ('[source.a]\n[source."a"]', "not TOML"),
        ("source.a.partitions = 3\n[source.a]", "not TOML"),
        ("[[source]]", "source"),
        ("[source]\na = 3", "source.a"),
        ("source = 3", "source = 3"),
        ("[source.a.b.c]", "source.a.b is not a setting; known there: topics"),
        ("[source.a.limits.x]", "source.a.limits.x is not a setting; known there: max_records"),
        ("[subscriber.t.x]", "subscriber.t.x is not a setting; known there: sources"),
        ("[freshness]", "freshness is not a setting; known there: source, subscriber"),
        ('"" = 1', "is not a setting"),
        ('[source.""]', "does not match"),
        ('[source."a b"]', "does not match"),
        ("[source.a]\ntopics = 1979-05-27", "source.a.topics"),
        ("[source.a]\npartitions = 1e0", "source.a.partitions"),
        ("[source.a]\npartitions = 0x7fffffffffffffffffff", "source.a.partitions"),
        ("[source.a]\nversion_rule = 'latest'", "source.a.version_rule"),
        ("[source.a.freshness]\nmax_expiry_ratio = nan", "source.a.freshness.max_expiry_ratio"),
        ("[source.a.freshness]\nmax_expiry_ratio = 1.01", "source.a.freshness.max_expiry_ratio"),
        ("a = " + "[" * 90_000, "not TOML"),
        ("[source.a]\n\x00", "not TOML"),
        ("\ufeff[source.a]\nx = 1", "not TOML"),
    ],
    ids=range(23),
)
def test_odd_files_are_one_clear_error(text: str, message: str) -> None:
    assert message in refused(text)


def test_all_mistakes_are_named_at_once() -> None:
    message = refused("[source.a]\nfoo = 1\npartitions = 0\n[source.a.limits]\nmax_records = 0")
    for path in ("source.a.foo", "source.a.partitions", "source.a.limits.max_records"):
        assert path in message


def test_a_long_value_is_shown_in_part() -> None:
    message = refused(f'[source.a]\nformat = "{"x" * 500}"')
    assert "…" in message
    assert len(message) < 200


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf[source.a]\r\n", b"[source.a]\r\n", b""])
def test_files_of_other_editors_are_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "freshet.toml"
    file.write_bytes(content)
    assert [spec.source for spec in load(file).sources] == ["a"] * (b"source" in content)


def test_a_file_that_is_not_utf8_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "freshet.toml"
    file.write_bytes("[source.a]\nprefix = 'ü'".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"freshet\.toml cannot be read"):
        load(file)
