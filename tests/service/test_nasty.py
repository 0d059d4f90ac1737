"""236 hostile or odd Kafka records: each ends as a sensible user wants, and nothing else changes."""

import base64
from typing import Any

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.preparation import PreparationSpec
from ingest.event import KafkaRecord
from tests.support.inputs import nasty, needs_inputs
from tests.support.pipeline import Pipeline, make_event

# Formats of later work; their records need another decoder.
_DECODERS = ("native", "any")
_BYSTANDER = "bystander"


def _cases() -> list[list[dict[str, Any]]]:
    """Records, those of one sequence together in their order."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in nasty(*_DECODERS):
        groups.setdefault(record.get("sequence") or record["case"], []).append(record)
    return [sorted(group, key=lambda record: record.get("step") or 0) for group in groups.values()]


CASES = _cases()


@needs_inputs
def test_the_records_are_there() -> None:
    assert CASES, "set FRESHET_DATA to the folder that holds nasty/nasty.jsonl"


@pytest.fixture(scope="module")
def pipeline(
    postgres_server: Any, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    postgres_server.create_database("nasty", template="freshet")
    folder = tmp_path_factory.mktemp("nasty")
    with (
        Cleaner(processes=1) as cleaner,
        Pipeline(postgres_server.url_of("nasty"), folder, source="nasty", cleaner=cleaner) as made,
    ):
        made.spec = made.spec.__class__(
            **{
                **_fields(made.spec),
                "pipeline": PreparationSpec(
                    max_document_bytes=10_000_000, clean_timeout_seconds=10
                ),
            }
        )
        made.configure()
        made.ingest(make_event(_BYSTANDER, 1, "A document that nothing else may touch."))
        yield made
    postgres_server.drop_database("nasty")


def _fields(spec: Any) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


@pytest.mark.parametrize(
    "group", CASES, ids=lambda group: group[0].get("sequence") or group[0]["case"]
)
def test_record_ends_as_expected(group: list[dict[str, Any]], pipeline: Pipeline) -> None:
    for record in group:
        before = pipeline.visible()
        letters = _count(pipeline, "dead_letter")
        report = pipeline.ingest(_kafka(record))
        after = pipeline.visible()
        outcome = _outcome(record, report, before, after)
        assert outcome in {record["expect"], *record.get("alt", [])}, (
            f"{record['case']} ended as {outcome}: {record.get('reason')}"
        )
        changed = {
            document
            for document in before.keys() | after.keys()
            if before.get(document) != after.get(document)
        }
        assert len(changed) <= 1
        assert after[_BYSTANDER] == (1, "A document that nothing else may touch.")
        assert report.records == 1
        if outcome == "dead_letter":
            assert _count(pipeline, "dead_letter") == letters + 1
            stored = pipeline.connection.execute(
                "SELECT value, key, reason FROM freshet.dead_letter ORDER BY dead_letter DESC LIMIT 1"
            ).fetchone()
            assert stored is not None
            assert stored[0] == _bytes(record["value_b64"])
            assert stored[1] == _bytes(record["key_b64"])
    _check(group[-1], pipeline.visible())


def _kafka(record: dict[str, Any]) -> KafkaRecord:
    headers = tuple((name, _bytes(value)) for name, value in record["headers"])
    return KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=record.get("timestamp_ms"),
        key=_bytes(record["key_b64"]),
        value=_bytes(record["value_b64"]),
        headers=headers,
    )


def _bytes(encoded: str | None) -> bytes | None:
    return None if encoded is None else base64.b64decode(encoded)


def _outcome(
    record: dict[str, Any], report: Any, before: dict[str, Any], after: dict[str, Any]
) -> str:
    if report.dead_lettered:
        return "dead_letter"
    document = _document(record, before, after)
    deletes = record["expect"] == "delete" or "delete" in record.get("alt", [])
    if (
        deletes
        and document not in after
        and (report.documents_deleted or record["expect"] == "delete")
    ):
        return "delete"
    if report.applied and report.documents_written:
        # A repaired text and one that needed no repair are both indexed; which it was is for `check` to tell.
        return "cleaned" if "cleaned" in {record["expect"], *record.get("alt", [])} else "accepted"
    return "ignored"


def _document(record: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> str | None:
    changed = [
        document
        for document in before.keys() | after.keys()
        if before.get(document) != after.get(document)
    ]
    return changed[0] if changed else record.get("doc_id")


def _check(record: dict[str, Any], visible: dict[str, tuple[int, str]]) -> None:
    check = record.get("check") or {}
    found = [text for document, (_, text) in visible.items() if document == record.get("doc_id")]
    if not check or not found:
        return
    text = " ".join(found[0].split())
    for wanted in check.get("contains", []):
        assert " ".join(wanted.split()) in text
    for unwanted in check.get("absent", []):
        assert (
            " ".join(unwanted.split()) not in text if unwanted.strip() else unwanted not in found[0]
        )


def _count(pipeline: Pipeline, table: str) -> int:
    row = pipeline.connection.execute(f"SELECT count(*) FROM freshet.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])
