"""Documents that were fetched from different addresses of one host, and have the same bytes.

They may be copies. They may also be a page that the host gives for everything, such as a login that comes with status
200. Nothing in the bytes says which, so that they are documents like others, and each version says that it is one.
"""

import json
from collections import defaultdict
from typing import Any

from psycopg.rows import scalar_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.prepare.candidates import BatchState, Documents


class SameBytes:
    """Finds them in one batch, and among what its source has.

    Of those of one batch, the first that comes is not known to be one.

    Args:
        pool: of connections to PostgreSQL.
        batch: as it is prepared.
    """

    def __init__(self, pool: ConnectionPool[Connection], batch: BatchState) -> None:
        self._pool = pool
        self._batch = batch
        self._addresses: dict[tuple[str, bytes], set[bytes]] = defaultdict(set[bytes])

    def note(self, documents: Documents) -> None:
        """Note which of some fetched documents have the bytes of another address, before they are prepared."""
        rows: list[int] = []
        ids: list[str] = []
        hosts: list[str] = []
        urls: list[bytes] = []
        contents: list[bytes] = []
        for document_id, document in documents.items():
            assert document.winner is not None, "an address is that of a winner"
            row = document.winner
            fetched: dict[str, Any] = json.loads(
                self._batch.events.value("fetched", row)
            )
            rows.append(row)
            ids.append(document_id)
            hosts.append(fetched["host"])
            urls.append(bytes.fromhex(fetched["url_sha256"]))
            contents.append(self._batch.events.value("content_sha256", row))
        for row, host, url, content in zip(rows, hosts, urls, contents, strict=True):
            addresses = self._addresses[host, content]
            addresses.add(url)
            if len(addresses) > 1:
                self._batch.same_bytes.add(row)
        values = {
            "source": self._batch.spec.source,
            "events": rows,
            "document_ids": ids,
            "hosts": hosts,
            "urls": urls,
            "contents": contents,
        }
        with database_errors_translated(), self._pool.connection() as connection:
            known = fetch_all(connection, scalar_row, "same_bytes_of", values)
        self._batch.same_bytes.update(known)
