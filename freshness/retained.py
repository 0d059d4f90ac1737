"""Whether Kafka keeps records for as long as a check may want to read them again. Pure, but for one query.

A document that came from an address and has changed there is read again by its record. Where Kafka has the record no
more, the change is lost, and the document is withdrawn as due.
"""

from collections.abc import Mapping

from psycopg.rows import tuple_row

from corpus.database import Connection, fetch_all
from corpus.source import SourceSpec, read_specs
from freshness.policy import format_duration

FOR_EVER = -1  # of Kafka's settings
_MS = 1_000


def asking_sources(connection: Connection) -> list[SourceSpec]:
    """Sources that have documents from addresses, which a check asks for before it withdraws them."""
    rows = fetch_all(connection, tuple_row, "doctor_asking_sources", {})
    specs = read_specs((source, stored) for source, stored in rows)
    return [
        spec
        for spec in specs.specs.values()
        if spec.fetch.revalidate and spec.freshness.expire_after_seconds is not None
    ]


def why_lost(spec: SourceSpec, topic: str, settings: Mapping[str, str]) -> str:
    """Why a change at an origin is lost, with both times; empty: its record is there when the document is due.

    Args:
        spec: of a source from `asking_sources`.
        topic: of the source.
        settings: of the topic, as Kafka names them.
    """
    kept = _kept_seconds(settings)
    expire_after = spec.freshness.expire_after_seconds or 0
    if kept is None or kept >= expire_after:
        return ""
    retention, policy = settings["retention.ms"], settings["cleanup.policy"]
    return (
        f"{spec.source}: topic {topic} keeps records for {format_duration(kept)} (retention.ms = {retention}, "
        f"cleanup.policy = {policy}), and a document is asked for again after expire_after = "
        f"{format_duration(expire_after)}: its record is gone by then, so one that has changed cannot be read, and is "
        "withdrawn"
    )


def what_is_kept(spec: SourceSpec, topic: str, settings: Mapping[str, str]) -> str:
    """For how long a topic keeps what a change is read from; empty: for ever."""
    kept = _kept_seconds(settings)
    shown: list[str] = []
    if kept is not None:
        shown.append(f"records for {format_duration(kept)}")
    limit = int(settings.get("retention.bytes") or FOR_EVER)
    if _deletes(settings) and limit != FOR_EVER:
        shown.append(f"{limit:,} bytes of each partition")
    if not shown:
        return ""
    return (
        f"{spec.source}: topic {topic} keeps {' and '.join(shown)}; a document that changes when its record is older "
        "is withdrawn, unless its record was sent again"
    )


def _deletes(settings: Mapping[str, str]) -> bool:
    """Whether a topic forgets the newest record of a key."""
    return "delete" in settings["cleanup.policy"]


def _kept_seconds(settings: Mapping[str, str]) -> int | None:
    """None: for ever."""
    milliseconds = int(settings["retention.ms"])
    if not _deletes(settings) or milliseconds == FOR_EVER:
        return None
    return milliseconds // _MS
