"""Whether a reference is bound: to its own source, its own records, and a file of that name; pure.

Whoever may signal a workflow can send a reference that no consumer made. A name is derived from what its file holds, so
the name of a genuine reference follows from the reference's other fields. Any other URL (`..`, an encoded separator,
another scheme, a file of another source) is refused before a file is opened. What the file holds is compared when it is
read (`corpus.staging.frames`, `corpus.prepare.events`).
"""

import re
from collections.abc import Sequence

from corpus.batch import BatchRef, StagedFile
from corpus.errors import StagedFileError
from corpus.staging.layout import batch_file_name, events_name

# Values of one micro-batch: 500 KB, or a single record. No consumer reads a record of more than 128 MB.
MAX_STAGED_BYTES = 256 * 1024**2
_MAX_INT4 = 2**31 - 1
_MAX_INT8 = 2**63 - 1
_MAX_ID = 200  # characters of an id of a topic or cluster
_SHOWN = 120  # characters of a forged value, in messages
# Of a source and of a topic; neither of them is a separator, and dots alone are no name.
_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def problem_of(ref: BatchRef, source: str) -> str:
    """Why a reference is not one of this source's; empty where it is."""
    if ref.source != source:
        return f"it names source {_shown(ref.source)}"
    if not _SEGMENT.fullmatch(source) or not _SEGMENT.fullmatch(ref.topic):
        return f"it names topic {_shown(ref.topic)}"
    if max(len(ref.topic_id), len(ref.cluster_id)) > _MAX_ID:
        return "the id of its topic or of its cluster is too long"
    return _wrong_number(ref) or _wrong_name(ref)


def _wrong_number(ref: BatchRef) -> str:
    bounds = {
        "partition": (0, _MAX_INT4),
        "first_offset": (0, _MAX_INT8 - 1),
        "next_offset": (ref.first_offset + 1, _MAX_INT8),
        "records": (1, ref.next_offset - ref.first_offset),
        "staged_bytes": (0, MAX_STAGED_BYTES),
        "staged_at_ms": (0, _MAX_INT8),
        "epoch": (0, _MAX_INT8),
        "backfill": (0, _MAX_INT8),
    }
    for name, bound in bounds.items():
        least, most = bound
        value: int = getattr(ref, name)
        if not least <= value <= most:
            return f"its {name} is {value}"
    return ""


def _wrong_name(ref: BatchRef) -> str:
    if not _DIGEST.fullmatch(ref.sha256):
        return "its checksum is none"
    name = events_name(
        ref.source,
        ref.topic,
        ref.partition,
        ref.first_offset,
        ref.next_offset,
        ref.sha256,
        ref.backfill,
    )
    if ref.url == name:
        return ""
    return f"its file is {_shown(ref.url)}, not {name}"


def check_refs(refs: Sequence[BatchRef], source: str) -> None:
    """Check that all of these are references of this source.

    Raises:
        StagedFileError: one is not; no file was opened.
    """
    for ref in refs:
        problem = problem_of(ref, source)
        if problem:
            message = f"a reference to source {source!r}"
            raise StagedFileError(f"{message}: {problem}")


def check_batch_file(file: StagedFile, source: str, batch: int, part: str) -> None:
    """Check that a file is the one of this name of this batch.

    Raises:
        StagedFileError: it is not; no file was opened.
    """
    is_digest = _DIGEST.fullmatch(file.sha256)
    is_source = _SEGMENT.fullmatch(source)
    name = batch_file_name(source, batch, part, file.sha256)
    if not is_digest or not is_source or file.url != name:
        raise StagedFileError(
            f"{_shown(file.url)} is no file of the {part} of batch {batch} of source {source!r}"
        )


def _shown(value: str) -> str:
    return repr(value[:_SHOWN])
