"""Which database is a copy, which settings lead elsewhere, and whose mark something has."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from corpus.errors import ConfigurationError, InstallationError
from corpus.installation import store_mark
from corpus.installation.identity import (
    MOVE,
    SEPARATE,
    TAKE_OVER,
    USED,
    Installation,
    Mark,
    check_used,
    decode,
    encode,
    mark_of,
    marked_by,
    own_mark,
    refuse_copy,
    refuse_foreign,
)
from corpus.staging.store import StagingStore

ID = "0b0e7a4c-2c8e-4b7e-9f5e-0d9b7c8f1a2b"
OURS = Installation(
    installation_id=UUID(ID),
    name="prod",
    created_at=datetime(2026, 11, 26, tzinfo=UTC),
    server="77",
    database_oid=16384,
    kafka_cluster="cluster",
    kafka_group="freshet",
    temporal_namespace="freshet",
    staging_url=None,
    current_server="77",
    current_oid=16384,
    current_name="freshet",
    original="freshet",
)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"original": "renamed", "current_name": "renamed"},
        {"current_server": ""},  # a managed server that does not show it
        {"server": ""},
        {"current_oid": 2, "original": None},  # restored in place of its original
    ],
)
def test_an_original_or_its_successor_is_no_copy(changed: dict[str, Any]) -> None:
    refuse_copy(replace(OURS, **changed))


@pytest.mark.parametrize(
    ("changed", "origin"),
    [
        ({"current_oid": 2}, "database 'freshet' of the same server"),
        ({"current_server": "78"}, r"a database of another server \(77\)"),
        ({"current_server": "78", "original": None}, "a database of another server"),
        ({"current_server": "78", "current_oid": 2, "original": None}, "another server"),
        ({"current_server": "", "server": "", "current_oid": 2}, "of the same server"),
        ({"current_server": "", "server": "", "current_oid": 2, "original": None}, "another data"),
    ],
)
def test_a_copy_is_refused_with_both_commands(changed: dict[str, Any], origin: str) -> None:
    with pytest.raises(InstallationError, match=origin) as refused:
        refuse_copy(replace(OURS, **changed))
    assert SEPARATE in str(refused.value)
    assert MOVE in str(refused.value)
    assert ID in str(refused.value)


@pytest.mark.parametrize("column", list(USED))
def test_a_setting_that_leads_elsewhere_is_named_with_both_values(column: str) -> None:
    ours = replace(OURS, **{column: "before"})
    check_used(ours, {column: "before"})
    check_used(replace(OURS, **{column: None}), {column: "new"})
    with pytest.raises(InstallationError, match=r"'before'.*'after'") as refused:
        check_used(ours, {column: "after"})
    thing, setting = USED[column]
    for part in (thing, setting, MOVE, SEPARATE):
        assert part in str(refused.value)


def test_a_mark_is_found_in_a_text() -> None:
    assert marked_by(f"acme.{OURS.mark}") == ID
    assert marked_by(mark_of(ID) + "; more") == ID
    for text in (None, "", "freshet", "freshet-installation-", "freshet-installation-x" * 9, ID):
        assert marked_by(text) is None


def test_what_has_another_mark_is_refused_by_name() -> None:
    refuse_foreign(OURS, None, "it", "do")
    refuse_foreign(OURS, own_mark(OURS), "it", "do")
    refuse_foreign(OURS, replace(own_mark(OURS), name="renamed"), "it", "do")
    other = Mark(installation_id="other", name="staging", database="db")
    with pytest.raises(InstallationError, match=r"^it belongs to installation 'staging'") as no:
        refuse_foreign(OURS, other, "it", "Set a setting")
    for part in ("other", "'db'", "'prod'", ID, "Set a setting", TAKE_OVER):
        assert part in str(no.value)


def test_a_refusal_is_an_error_of_the_configuration() -> None:
    """Exit code 2, and no activity tries it again."""
    assert issubclass(InstallationError, ConfigurationError)


def test_a_mark_survives_its_file() -> None:
    mark = replace(own_mark(OURS), former=("a", "b"))
    assert decode(encode(mark)) == mark


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"x", b'"x"', b"null", b"\xff"])
def test_a_file_that_is_no_mark_is_named(tmp_path: Path, content: bytes) -> None:
    store = StagingStore(tmp_path.as_uri())
    (tmp_path / store_mark.MARK_NAME).write_bytes(content)
    with pytest.raises(InstallationError, match=r"installation.json in staging store .* damaged"):
        store_mark.claim(store, own_mark(OURS))


def test_the_first_mark_of_a_store_stays(tmp_path: Path) -> None:
    store = StagingStore(tmp_path.as_uri())
    assert store_mark.read_mark(store) is None
    ours, other = own_mark(OURS), replace(own_mark(OURS), installation_id="other")
    assert store_mark.claim(store, ours) == ours
    assert store_mark.claim(store, other) == ours
    store.create(store_mark.MARK_NAME, b"late")
    assert store_mark.read_mark(store) == ours
    store_mark.take_over(store, other)
    assert store_mark.claim(store, ours) == other
    assert store.names("events") == []
