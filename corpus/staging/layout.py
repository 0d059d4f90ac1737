"""Files that lie between the steps (claim check), their names and their columns.

A name comes from what the file holds, so a repeated attempt writes the same file; a writer puts a temporary name first and
moves it. Workflows carry pointers (`BatchRef`, `StagedFile`) and never open them. `corpus.staging.store` reads and writes.
"""

# events/{source}/{topic}/{partition}/{first}-{next}-{digest}.parquet, written by the consumer: one row a Kafka record.
#
#   always:                   topic str, partition int32, offset int64, timestamp_ms int64 null, outcome str,
#                             key binary null, value binary null (the record as it came), headers str (JSON [[name, base64|null], ...])
#   outcome = "event":        op str ("upsert" | "delete"), document_id str, version int64 null (null: relative, see below),
#                             uri str null, title str null, content_type str null, metadata str (JSON object), acl list[str] null,
#                             event_at_ms int64 null, expires_at_ms int64 null, content_bytes int64 null,
#                             content_sha256 binary null (content as received, UTF-8), raw_sha256 binary (the Kafka value)
#   outcome = "dead_letter":  reason str, detail str, document_id str null
#   outcome = "ignored":      reason str (the rule)
#
# The content itself is not a column: it lies in `value`, and only documents that really changed are decoded again for it.
# So an unchanged document costs no copy of its text, and whatever fails later still has its original bytes.
#
# A relative event (a Kafka tombstone where versions come from the event) acts on whatever version is there when its turn
# comes; it is remembered under that version.
EVENT_COLUMNS = (
    "topic",
    "partition",
    "offset",
    "timestamp_ms",
    "outcome",
    "op",
    "document_id",
    "version",
    "uri",
    "title",
    "content_type",
    "metadata",
    "acl",
    "event_at_ms",
    "expires_at_ms",
    "content_bytes",
    "content_sha256",
    "raw_sha256",
    "reason",
    "detail",
    "key",
    "value",
    "headers",
)


def events_name(
    source: str, topic: str, partition: int, first_offset: int, next_offset: int, digest: str
) -> str:
    """Name of a staged micro-batch."""
    return f"events/{source}/{topic}/{partition}/{first_offset}-{next_offset}-{digest[:16]}.parquet"


def batch_file_name(source: str, batch: int, part: str, digest: str) -> str:
    """Name of a file between two steps of a batch."""
    return f"batches/{source}/{batch}/{part}-{digest[:16]}.parquet"
