"""Does a document equal what its records come to? Pure: the rule that every audit judges by.

The records are folded as ingest folds them (`corpus.prepare.fold`). A record that became a dead letter when it was
prepared may have been used later, with other settings, so either is right. What the log has lost proves nothing: where
the record that a row names is not there, the document is not judged.
"""

import json
from typing import Any

from corpus.audit.audit import Finding, FindingKind, NotJudged
from corpus.audit.evidence import (
    Document,
    Expected,
    LoggedRecord,
    Logs,
    Origin,
    StoredVersion,
    expected_of,
    floor_of,
    read_again_from,
    shown_version,
)

# Withdrawn by a rule or an order, and not by a record.
_WITHDRAWN = ("expired", "erased")

Verdict = Finding | NotJudged | None


def judge(document: Document, logs: Logs) -> Verdict:
    """What is wrong with a document; None: nothing.

    Args:
        document: what is known of it.
        logs: what the audit covers of each partition.
    """
    if len(document.visible) > 1:
        shown = ", ".join(str(version.version) for version in document.visible)
        return Finding(
            kind=FindingKind.DUPLICATE,
            document_id=document.document_id,
            document_key=document.visible[-1].document_key,
            expected="one version visible",
            actual=f"versions {shown}",
            records=read_again_from(document),
            floor=floor_of(document),
        )
    reason = _set_aside(document)
    if reason is not None:
        return reason
    certain = [record for record in document.records if not record.was_dead_letter]
    verdict = _compare(document, expected_of(certain), logs)
    if not isinstance(verdict, Finding) or len(certain) == len(document.records):
        return verdict
    with_all = _compare(document, expected_of(document.records), logs)
    return None if with_all is None else verdict


def _set_aside(document: Document) -> NotJudged | None:
    """Why a document is not compared with its records; None: it is."""
    versions = document.versions
    if any(version.is_moved for version in versions):
        return NotJudged.MOVED
    if any(version.is_corrected for version in versions):
        return NotJudged.CORRECTED
    return None


# ── comparing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _compare(document: Document, expected: Expected | None, logs: Logs) -> Verdict:
    """Compare with what the records come to, and where they say nothing, with the inventory."""
    inventory = document.inventory
    is_known = expected is not None and expected.winner is not None
    if inventory is not None and not (is_known and _is_newer(expected, inventory)):
        return _compare_inventory(document, inventory)
    if expected is None:
        return _without_records(document, logs)
    if expected.is_present:
        return _compare_present(document, expected, logs)
    return _compare_absent(document, expected, logs)


def _is_newer(expected: Expected | None, inventory: LoggedRecord) -> bool:
    assert expected is not None
    return inventory.version is None or expected.version >= inventory.version


def _compare_present(document: Document, expected: Expected, logs: Logs) -> Verdict:
    shown = next(iter(document.visible), None)
    if shown is not None:
        return _compare_shown(document, shown, expected, logs)
    head = document.head
    if head is None:
        return _missing(document, expected, "no row")
    if _is_withdrawn(head, expected.version):
        return None
    # A later delete, or a later version, may have been in what the log has lost.
    is_later = head.kind == "tombstone" or head.version > expected.version
    unproven = _unproven(head, logs)
    if unproven is not None and is_later and head.version >= expected.version:
        return unproven
    return _missing(document, expected, f"version {head.version} {head.end_reason}")


def _is_withdrawn(head: StoredVersion, version: int) -> bool:
    """Whether a rule or an order has withdrawn this version, or a later one, and the ledger knows of it."""
    is_later = head.version >= version
    return is_later and head.is_ended and head.end_reason in _WITHDRAWN


def _compare_shown(
    document: Document, shown: StoredVersion, expected: Expected, logs: Logs
) -> Verdict:
    actual = f"version {shown.version} visible"
    if shown.version < expected.version:
        return _finding(FindingKind.STALE, document, str(expected), actual)
    unproven = _unproven(shown, logs)
    if shown.version > expected.version:
        return unproven or _finding(FindingKind.NEWER, document, str(expected), actual)
    winner = expected.winner
    assert winner is not None, "a document that is present has a record"
    if unproven is not None:
        return None if _says_the_same(shown, expected) else unproven
    if winner.content_sha256 is None:
        return None  # the record leaves out what did not change
    if shown.content_sha256 != winner.content_sha256:
        return _finding(
            FindingKind.WRONG_CONTENT,
            document,
            f"content {_short(winner.content_sha256)}",
            f"content {_short(shown.content_sha256)}",
        )
    different = _different_fields(shown, expected)
    if different:
        return _finding(
            FindingKind.WRONG_METADATA,
            document,
            "as in its record",
            f"other: {', '.join(different)}",
        )
    return None


def _compare_absent(document: Document, expected: Expected, logs: Logs) -> Verdict:
    shown = next(iter(document.visible), None)
    if shown is None:
        return None
    unproven = _unproven(shown, logs)
    if unproven is not None:
        return unproven
    winner = expected.winner
    kind = FindingKind.EXTRA
    if winner is not None and shown.version > expected.version:
        kind = FindingKind.NEWER
    actual = f"version {shown.version} visible"
    return _finding(kind, document, "deleted", actual)


def _without_records(document: Document, logs: Logs) -> Verdict:
    shown = next(iter(document.visible), None)
    if shown is None or shown.is_past_end:
        return None
    unproven = _unproven(shown, logs)
    if unproven is not None and not (
        document.has_inventory and unproven is NotJudged.RECORD_NOT_IN_LOG
    ):
        return unproven
    return _finding(
        FindingKind.EXTRA,
        document,
        "no record accounts for it",
        f"version {shown.version} visible",
    )


def _compare_inventory(document: Document, inventory: LoggedRecord) -> Verdict:
    """Compare with a row of an inventory, which may name a version, a hash, or neither."""
    expected = f"version {shown_version(inventory)} visible (inventory)"
    shown = next(iter(document.visible), None)
    if shown is None:
        return _hidden_in_inventory(document, inventory, expected)
    actual = f"version {shown.version} visible"
    version = shown.version if inventory.version is None else inventory.version
    if shown.version < version:
        return _finding(FindingKind.STALE, document, expected, actual)
    if shown.version > version:
        return NotJudged.RECORD_NOT_IN_LOG  # changed after the inventory was made
    content = inventory.content_sha256
    if content is None or shown.content_sha256 == content:
        return None
    return _finding(
        FindingKind.WRONG_CONTENT,
        document,
        f"content {_short(content)}",
        f"content {_short(shown.content_sha256)}",
    )


def _hidden_in_inventory(
    document: Document, inventory: LoggedRecord, expected: str
) -> Verdict:
    """A document of an inventory that readers do not see."""
    head = document.head
    if head is None or inventory.version is None:
        is_withdrawn = head is not None and head.end_reason in _WITHDRAWN
    else:
        is_withdrawn = head.end_reason in _WITHDRAWN
        if head.version > inventory.version:
            return NotJudged.RECORD_NOT_IN_LOG  # deleted after the inventory was made
    if is_withdrawn:
        return None
    return _finding(FindingKind.MISSING, document, expected, "not visible")


def _unproven(version: StoredVersion, logs: Logs) -> NotJudged | None:
    """Why the log says nothing about a row; None: it does."""
    match logs.origin_of(version):
        case Origin.LOST:
            return NotJudged.RECORD_NOT_IN_LOG
        case Origin.UNREADABLE:
            return NotJudged.DECODED_OTHERWISE
        case Origin.RECORD | Origin.OTHER | Origin.NONE:
            return None


def _says_the_same(shown: StoredVersion, expected: Expected) -> bool:
    winner = expected.winner
    if winner is None or shown.content_sha256 != winner.content_sha256:
        return False
    return not _different_fields(shown, expected)


def _different_fields(shown: StoredVersion, expected: Expected) -> list[str]:
    """The fields in which a row differs from its record; another one may say who may read it."""
    said = _said(expected.winner) | {"acl": _said(expected.granting).get("acl")}
    kept = shown.description()
    names = [name for name, value in kept.items() if said.get(name) != value]
    language = said.get("stated_language")
    if shown.knows_language and shown.stated_language != language:
        names.append("language")
    return names


def _said(record: LoggedRecord | None) -> dict[str, Any]:
    if record is None or record.description is None:
        return {}
    said: dict[str, Any] = json.loads(record.description)
    return said


def _missing(document: Document, expected: Expected, actual: str) -> Finding:
    return _finding(FindingKind.MISSING, document, str(expected), actual)


def _finding(
    kind: FindingKind,
    document: Document,
    wanted: str,
    actual: str,
) -> Finding:
    row = next(iter(document.visible), None) or document.head
    return Finding(
        kind=kind,
        document_id=document.document_id,
        document_key=None if row is None else row.document_key,
        expected=wanted,
        actual=actual,
        records=read_again_from(document),
        floor=floor_of(document),
    )


def _short(digest: bytes | None) -> str:
    return "none" if digest is None else digest.hex()[:12]
