"""A database that the first version made and filled migrates, and goes on under today's code.

`first_version.sql` holds what commit 0724ce2 wrote: one source with three batches, two versions of a document, a
tombstone, a dead letter and a subscription. The migrations that it had applied are never edited.
"""

import hashlib
from pathlib import Path

import pytest

from corpus import database
from corpus.database import applied_migrations, connect, migrate, migrations
from corpus.deliver.notices import next_notice
from corpus.deliver.subscription import DeliveryInput
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service

DUMP = Path(__file__).with_name("first_version.sql")
# Migrations of the first version, and the digest of each as it was released.
RELEASED = {
    "0001_initial.sql": "a8dff6337b8cb24dbf54c43a6136635b072c71cff5a2bddf59fa349f445ac60f",
    "0002_search.sql": "4739a0be4dad223c6ba654860cb73930e7b6dd6ad0be5b1042814a797bf958ca",
}


@pytest.fixture
def first_version(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database as the first version left it."""
    old = [(name, text) for name, text in migrations() if name in RELEASED]
    with monkeypatch.context() as patched:
        patched.setattr(database, "migrations", lambda: old)
        migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        connection.execute(DUMP.read_bytes())
    return empty_database_url


def test_released_migrations_are_as_they_were() -> None:
    texts = dict(migrations())
    digests = {name: hashlib.sha256(texts[name].encode()).hexdigest() for name in RELEASED}
    assert digests == RELEASED


def test_it_migrates_reads_and_publishes(first_version: str, tmp_path: Path) -> None:
    migrate(first_version)
    with connect(first_version) as connection:
        assert list(applied_migrations(connection)) == [name for name, _ in migrations()]
    with Pipeline(first_version, tmp_path, source="peps") as pipeline:
        before = pipeline.visible()
        assert {name: version for name, (version, _) in before.items()} == {"weir": 2, "lock": 1}
        hits = pipeline.search("weir mill water", mode="text")
        assert [(hit.document_id, hit.version) for hit in hits[:1]] == [("weir", 2)]
        vectors = pipeline.search("A gauge is read at noon.", mode="vector")
        assert vectors[0].document_id == "weir"

        pipeline.next_offset[0] = pipeline.position(0)
        pipeline._numbers = iter(range(4, 100))
        again = pipeline.ingest(
            make_event("gone", 1, "This page is deleted later."),
            make_event("lock", 1, "A lock raises boats by two metres."),
        )
        assert (again.superseded, again.unchanged, again.texts_embedded) == (1, 1, 0)
        newer = pipeline.ingest(
            make_event("weir", 3, "The weir at the mill holds three metres of water."),
            make_event("lock", 2, op="delete"),
        )
        assert (newer.documents_written, newer.documents_deleted) == (1, 1)
        assert {name: version for name, (version, _) in pipeline.visible().items()} == {"weir": 3}


def test_its_subscriber_misses_no_batch(first_version: str) -> None:
    migrate(first_version)
    with connect(first_version) as connection:
        delivery = DeliveryInput(subscriber="team", source="peps")
        notice = next_notice(connection, delivery).notice
    assert notice is not None
    assert (notice.batch, notice.previous_batch) == (2, 1)
