"""What an import would do: each file of a listing against what the corpus holds of it. Nothing is read or changed."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from ingest.decode import fields
from ingest.decode.fields import FieldError
from ingest.imports.file import MARK_HEADER, ListedFile, Listing, Mark, Place

_NO_FILE = "a link that is not followed, or a special file, is in its place; its document is kept"
# Ids of one question to the database.
_PAGE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRules:
    """What a person chose."""

    source: str
    root: str  # name of the root
    prefix: str = ""  # put before each path
    max_bytes: int  # a larger file is left out
    checksum: bool = False  # read every file, whatever its size and time
    delete_missing: bool = False
    max_ratio: float = 1.0  # of the root's documents, that one import may delete


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDocument:
    """What the corpus holds under an id (query `imported_heads`)."""

    document_id: str
    version: int
    visible: bool
    imported: dict[str, Any] | None = None  # its mark, as it is stored

    @property
    def mark(self) -> Mark | None:
        """The mark that an import left."""
        return Mark.from_json(self.imported)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileToSend:
    """A file that is new, or may have changed."""

    file: ListedFile
    document_id: str
    held: HeldDocument | None  # None: the corpus has never seen it
    refused: Mark | None = None  # of the dead letter that it became

    @property
    def is_new(self) -> bool:
        """Whether readers see no version of it."""
        return self.held is None or not self.held.visible


@dataclass(slots=True, kw_only=True)
class ImportPlan:
    """What an import does; the lists are in the order of the paths."""

    rules: ImportRules
    listing: Listing
    send: list[FileToSend] = field(default_factory=list[FileToSend])
    unchanged: int = 0
    # Were sent as they are now, and became dead letters.
    refused: list[str] = field(default_factory=list[str])
    too_large: dict[str, int] = field(default_factory=dict[str, int])  # bytes
    # Files that may not be taken, with the reason.
    problems: dict[str, str] = field(default_factory=dict[str, str])
    missing: list[HeldDocument] = field(default_factory=list[HeldDocument])
    root_documents: int = 0  # that readers see, and an import of this root brought
    keeps_missing: str = ""  # why none of the missing ones is deleted; empty: they are

    @property
    def new(self) -> int:
        """Files of which readers see no version."""
        return sum(one.is_new for one in self.send)

    @property
    def delete(self) -> Sequence[HeldDocument]:
        """Documents that are deleted."""
        return () if self.keeps_missing else self.missing


def make_plan(
    connection: Connection, place: Place, listing: Listing, rules: ImportRules
) -> ImportPlan:
    """Compare a listing with the corpus.

    Raises:
        DependencyError: PostgreSQL does not answer.
    """
    plan = ImportPlan(rules=rules, listing=listing)
    unreadable = listing.unreadable
    plan.problems.update(unreadable)
    files = listing.files
    count = len(files)
    starts = range(0, count, _PAGE)
    for start in starts:
        end = start + _PAGE
        page = files[start:end]
        _compare(connection, plan, page)
    values = {"source": rules.source, "root": rules.root}
    find_missing(plan, place, _held(connection, "imported_by_root", values))
    return plan


def _compare(
    connection: Connection, plan: ImportPlan, files: Sequence[ListedFile]
) -> None:
    ids = _document_ids(plan, files)
    values = {"source": plan.rules.source, "document_ids": list(ids.values())}
    held = _held(connection, "imported_heads", values)
    letters = _dead_letters(connection, values)
    for file in files:
        document_id = ids.get(file.path)
        if document_id is None:
            continue
        one = FileToSend(
            file=file,
            document_id=document_id,
            held=held.get(document_id),
            refused=letters.get(document_id),
        )
        _judge(plan, one)


def _document_ids(plan: ImportPlan, files: Iterable[ListedFile]) -> dict[str, str]:
    """The id of each file that can have one, by its path."""
    ids: dict[str, str] = {}
    for file in files:
        try:
            ids[file.path] = fields.document_id(plan.rules.prefix + file.path)
        except FieldError as error:
            plan.problems[file.path] = f"its path is no id: {error.detail}"
    return ids


def _held(
    connection: Connection, name: str, values: Mapping[str, Any]
) -> dict[str, HeldDocument]:
    rows = fetch_all(connection, class_row(HeldDocument), name, values)
    return {row.document_id: row for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class _DeadLetter:
    """A row of the query `imported_dead_letters`."""

    document_id: str
    headers: list[list[str | None]]


def _dead_letters(connection: Connection, values: Mapping[str, Any]) -> dict[str, Mark]:
    """The marks of files that became dead letters, by document."""
    rows = fetch_all(
        connection, class_row(_DeadLetter), "imported_dead_letters", values
    )
    marks: dict[str, Mark] = {}
    for row in rows:
        for name, value in row.headers:
            mark = _mark_in_header(value) if name == MARK_HEADER else None
            if mark is not None:
                marks[row.document_id] = mark
    return marks


def _mark_in_header(value: str | None) -> Mark | None:
    try:
        return Mark.from_json(json.loads(base64.b64decode(value or "")))
    except ValueError:
        return None


def _judge(plan: ImportPlan, one: FileToSend) -> None:
    """Put a file where it belongs."""
    rules, file = plan.rules, one.file
    mark = None
    if one.held is not None and one.held.visible:
        mark = one.held.mark
        if mark is None or mark.root != rules.root:
            plan.problems[file.path] = _other_owner(one.document_id, mark)
            return
    if file.stamp.size > rules.max_bytes:
        plan.too_large[file.path] = file.stamp.size
    elif is_same(mark, file, rules):
        plan.unchanged += 1
    elif is_same(one.refused, file, rules):
        plan.refused.append(file.path)
    else:
        plan.send.append(one)


def is_same(mark: Mark | None, file: ListedFile, rules: ImportRules) -> bool:
    """Whether a mark is that of the file as it is listed."""
    if mark is None or rules.checksum or mark.root != rules.root:
        return False
    return mark.stamp == file.stamp


def _other_owner(document_id: str, mark: Mark | None) -> str:
    if mark is None:
        owner = "no import brought"
    else:
        owner = f"the import of {mark.root!r} brought"
    return f"document {document_id!r}, which {owner}, has this id; give a --prefix, or the --name that was given before"


# ── missing files ───────────────────────────────────────────────────────────────────────────────────────────────────


def find_missing(
    plan: ImportPlan, place: Place, brought: Mapping[str, HeldDocument]
) -> None:
    """Find the documents whose files are gone: the listing would have them, and nothing else is where they were.

    Args:
        plan: gets them.
        place: was listed.
        brought: the documents of the root, by id.
    """
    rules = plan.rules
    plan.root_documents = len(brought)
    listed = {rules.prefix + file.path for file in plan.listing.files}
    in_the_way = {*plan.listing.links, *plan.listing.special}
    for document_id, held in sorted(brought.items()):
        path = document_id.removeprefix(rules.prefix)
        if document_id in listed or not _is_ours(held, rules):
            continue
        if not place.covers(path):
            continue
        if in_the_way.isdisjoint(_ways_to(path)):
            plan.missing.append(held)
        else:
            plan.problems[path] = _NO_FILE
    plan.keeps_missing = _why_kept(plan)


def _is_ours(held: HeldDocument, rules: ImportRules) -> bool:
    """Whether imports with this prefix brought a document; the same root may have others."""
    mark = held.mark
    is_of_prefix = mark is not None and mark.prefix == rules.prefix
    return is_of_prefix and held.document_id.startswith(rules.prefix)


def _ways_to(path: str) -> list[str]:
    """A path, and the folders that it leads through."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _why_kept(plan: ImportPlan) -> str:
    rules, listing = plan.rules, plan.listing
    if not plan.missing:
        return ""
    if not rules.delete_missing:
        return "--delete-missing deletes them"
    if not listing.files:
        return "the listing is empty, which deletes nothing"
    if not listing.is_whole:
        return "the listing is not whole, which deletes nothing: a part of it cannot be read"
    lost, documents = len(plan.missing), plan.root_documents
    if lost > rules.max_ratio * documents:
        return (
            f"{lost:,} of the root's {documents:,} documents would be deleted, more than max_expiry_ratio "
            f"{rules.max_ratio:g} of the source allows; raise it if they may go"
        )
    return ""
