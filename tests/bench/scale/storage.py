"""Bytes of a chunk: every table of Freshet, its TOAST and its indexes."""

from tests.bench.scale.revision import Revision

_MIN_BYTES = 10  # per chunk; what is less counts as "other"


def bytes_per_chunk(revision: Revision) -> dict[str, int]:
    """By name, the greatest first; the sum is that of the whole schema."""
    connection = revision.connection
    row = connection.execute("SELECT count(*) FROM freshet.chunk").fetchone()
    assert row is not None
    chunks = int(row[0])
    sizes = {str(name): float(size) / chunks for name, size in connection.execute(_SIZES)}
    shown = {name: round(size) for name, size in sizes.items() if size >= _MIN_BYTES}
    other = round(sum(size for size in sizes.values() if size < _MIN_BYTES))
    return dict(sorted(shown.items(), key=lambda one: -one[1])) | {"other": other}


_SIZES = b"""
WITH tables AS (
    SELECT c.oid, c.relname, c.reltoastrelid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'freshet' AND c.relkind = 'r')
SELECT t.relname, pg_relation_size(t.oid) FROM tables t
UNION ALL
SELECT 'TOAST of ' || t.relname, pg_total_relation_size(t.reltoastrelid) FROM tables t WHERE t.reltoastrelid <> 0
UNION ALL
SELECT 'index ' || i.indexrelid::regclass::name, pg_relation_size(i.indexrelid)
FROM tables t JOIN pg_index i ON i.indrelid = t.oid"""
