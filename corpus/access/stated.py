"""Who may read a document, as a record says that is not published yet."""

from collections.abc import Sequence
from typing import NamedTuple


class StatedReaders(NamedTuple):
    """What an upsert says."""

    document_id: str
    version: int
    record_offset: int
    acl: Sequence[str]  # groups; empty: nobody
