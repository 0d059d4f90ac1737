"""The checks of `freshet doctor` on what topics hold: do deletes name documents, and may something be lost?"""

from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from compose.local.checks import Check, CheckFailedError
from corpus.source import SourceSpec


def judge_deletes(rows: list[dict[str, Any]]) -> str:
    """Describe how many deletes named no document.

    Args:
        rows: of the query `doctor_deletes`.

    Raises:
        CheckFailedError: most of a source's deletes do; the message names the figures.
    """
    from ingest.condition import deletes_in_vain

    problems = [
        f"{row['source']}: {problem}"
        for row in rows
        if (problem := deletes_in_vain(row))
    ]
    if problems:
        raise CheckFailedError("; ".join(problems))
    deleted = sum(row["documents_deleted"] for row in rows)
    in_vain = sum(row["deletes_without_document"] for row in rows)
    return f"{deleted:,} deletes of documents, {in_vain:,} of what was never there"


def judge_lost(places: dict[str, list[str]]) -> str:
    """Describe where deletes may be lost.

    Args:
        places: by source.

    Raises:
        CheckFailedError: there is such a place.
    """
    problems = [
        f"{source}: {line}" for source, lines in places.items() for line in lines
    ]
    if problems:
        raise CheckFailedError("; ".join(problems))
    return "none may be lost"


def _observe_deletes(home: Path) -> str:
    from corpus.database import connect, fetch_all
    from workers.config.settings import load

    with connect(load(home).database_url, application="freshet-doctor") as connection:
        rows = fetch_all(connection, dict_row, "doctor_deletes", {})
    return judge_deletes(rows)


def _observe_lost(home: Path) -> str:
    from corpus.database import connect
    from ingest.consume.readable import ReadableRecords
    from ingest.kafka import Cluster
    from ingest.overview import progress
    from workers.config.settings import load

    settings = load(home)
    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    with connect(settings.database_url, application="freshet-doctor") as connection:
        read = progress(connection, cluster, ReadableRecords(cluster))
    return judge_lost(
        {source: list(lines) for source, lines in read.deletes_lost.items()}
    )


def judge_records(specs: list[SourceSpec], settings: dict[str, dict[str, str]]) -> str:
    """Describe how long topics keep the records by which changed documents are read again.

    Args:
        specs: of sources that ask for their documents again.
        settings: of topics; those that may not be described are left out.

    Raises:
        CheckFailedError: records are gone before their documents are asked for.
    """
    from freshness.retained import what_is_kept, why_lost

    problems: list[str] = []
    kept: list[str] = []
    for spec in specs:
        for topic in spec.topics:
            if topic not in settings:
                kept.append(f"{spec.source}: topic {topic} may not be described")
                continue
            problems.append(why_lost(spec, topic, settings[topic]))
            kept.append(what_is_kept(spec, topic, settings[topic]))
    if any(problems):
        raise CheckFailedError("; ".join(filter(None, problems)))
    observed = "; ".join(filter(None, kept))
    return observed or "records of documents that are asked for again are kept"


def _observe_records(home: Path) -> str:
    from corpus.database import connect
    from freshness.retained import asking_sources
    from ingest.kafka import Cluster
    from workers.config.settings import load

    settings = load(home)
    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    with connect(settings.database_url, application="freshet-doctor") as connection:
        specs = asking_sources(connection)
    topics = {topic for spec in specs for topic in spec.topics}
    return judge_records(specs, cluster.topic_settings(topics).answers)


TOPIC_CHECKS = (
    Check(
        "deletes without a document",
        _observe_deletes,
        "let the producer write the documents' ids as keys, or set the source's key_format",
    ),
    Check(
        "lost deletes",
        _observe_lost,
        "the command that the line names compares the corpus with the topic",
    ),
    Check(
        "records of documents by reference",
        _observe_records,
        "raise the topic's retention.ms above expire_after, or set cleanup.policy = compact; or have the producer send "
        "the records again more often than expire_after",
    ),
)
