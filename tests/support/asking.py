"""Documents of addresses that are due, and checks that ask for them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.source import FreshnessSpec
from corpus.specs.fetch import FetchSpec
from freshness import scan
from freshness.revalidate import Revalidator
from freshness.revalidation import Revalidation
from tests.support.pipeline import Pipeline, make_event

HOUR = 3_600


def pointing(document_id: str, url: str, version: int = 1, **other: Any) -> dict[str, Any]:
    event = make_event(document_id, version)
    del event["content_type"]
    return event | {"content_url": url} | other


def due_after_an_hour(database_url: str, folder: Path) -> Pipeline:
    """A pipeline whose documents are due after an hour, with addresses on this machine."""
    fetch = FetchSpec(internal_hosts=("127.0.0.1",), plain_http=True, timeout_seconds=2.0)
    freshness = FreshnessSpec(expire_after_seconds=HOUR, max_expiry_ratio=1.0)
    return Pipeline(database_url, folder, fetch=fetch, freshness=freshness)


def age(docs: Pipeline, *document_ids: str, hours: int = 2) -> None:
    """Nobody has seen these documents for so long; all of them where none is named."""
    docs.connection.execute(
        """UPDATE freshet.document
           SET observed_at = now() - make_interval(hours => %s), verified_at = now() - make_interval(hours => %s)
           WHERE is_head AND (document_id = ANY(%s) OR %s)""",
        (hours, hours, list(document_ids), not document_ids),
    )


def ask(docs: Pipeline, **options: Any) -> Revalidation:
    return Revalidator(docs.pool, **options).revalidate(docs.spec.source)


def expire(docs: Pipeline, **policy: Any) -> int:
    return docs.expire(**({"after_seconds": HOUR} | policy)).documents_expired


def measured(docs: Pipeline) -> Any:
    return scan.measure(docs.connection, docs.spec.source)


def configure(docs: Pipeline, **fetch: Any) -> None:
    docs.spec = replace(docs.spec, fetch=replace(docs.spec.fetch, **fetch))
    docs.configure()
