"""Versions of one document: of which kind each is, and which two cannot be compared."""

from typing import NamedTuple

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.versions.marks import Marks, is_after
from corpus.versions.scale import Ranked, is_far_below, is_of_record


class Incomparable(NamedTuple):
    """Why a version cannot be compared with the one that outranks it."""

    reason: DeadLetterReason
    detail: str


def ranked(version: int, written: Marks) -> Ranked:
    """A version as it is compared.

    Args:
        version: -1: that of a document of which only deletes without a version are known.
        written: its first records.
    """
    made = [mark.record_version for mark in written.values()]
    is_own = version >= 0 and not is_of_record(version, made)
    return Ranked(version=version, is_own=is_own)


def incomparable(
    lower: Ranked, written: Marks, upper: Ranked, upper_written: Marks, spec: SourceSpec
) -> Incomparable | None:
    """Why a version cannot be compared with the one that outranks it; None where it can.

    Only what was written later is named: an older record with a smaller version is what every replay brings.

    Args:
        lower: the version that would be superseded.
        written: its records.
        upper: the version that outranks it.
        upper_written: its first records.
        spec: of the source.
    """
    if not spec.reads_own_versions or upper.version < 0:
        return None
    if not is_after(written, upper_written):
        return None
    if lower.is_own != upper.is_own:
        detail = _two_scales(lower, upper, spec)
        return Incomparable(DeadLetterReason.TWO_SCALES, detail)
    is_auto = spec.version_scale == "auto"
    if is_auto and lower.is_own and is_far_below(lower.version, upper.version):
        detail = _far_below(lower, upper, spec.source)
        return Incomparable(DeadLetterReason.VERSION_BEYOND_SCALE, detail)
    return None


def _two_scales(lower: Ranked, upper: Ranked, spec: SourceSpec) -> str:
    if not lower.is_own:
        return (
            f"two scales meet: the event names no version, and its document has version {upper.version} of an event; "
            "send it again with a version"
        )
    return (
        f"two scales meet: the event names version {lower.version}, and its document has version {upper.version}, made "
        "of the record of an event that named none. If the versions of events count from now on, set "
        f'version_rule = "own" for source {spec.source!r}, run `freshet apply` and redrive the dead letter'
    )


def _far_below(lower: Ranked, upper: Ranked, source: str) -> str:
    return (
        f"version {lower.version} was written later and is far below version {upper.version} of its document. If that "
        f"one is a mistake: `freshet document correct --source {source} --id ID --reason TEXT`, then redrive the dead "
        "letter"
    )
