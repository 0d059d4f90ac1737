"""What can be wrong with a corpus, as the owner of its tables would break it; one document each."""

from dataclasses import dataclass

from corpus.audit.audit import FindingKind
from tests.support.pipeline import Pipeline

# `{id}` is the document. It has versions 1 (replaced) and 2 (visible), and one chunk; `{other}` is another document.
_VISIBLE = "source = 's' AND document_id = '{id}' AND visible_to IS NULL"
_CHUNK = f"(SELECT min(chunk_id) FROM freshet.chunk WHERE {_VISIBLE})"


@dataclass(frozen=True)
class Damage:
    """What is done, and what an audit must call it."""

    kind: FindingKind
    statements: tuple[str, ...]
    suffix: str = ""  # of the document that is found
    repaired: bool = True  # a repair mends it without a person

    def do(self, pipeline: Pipeline, document_id: str, other: str = "undamaged") -> tuple[str, str]:
        """Break a document; returns what is to be found."""
        for statement in self.statements:
            text = statement.format(id=document_id, other=other)
            pipeline.connection.execute(text.encode())
        return (str(self.kind), document_id + self.suffix)


DAMAGES: dict[str, Damage] = {
    "its row is gone": Damage(
        FindingKind.MISSING, (f"DELETE FROM freshet.document WHERE {_VISIBLE}",)
    ),
    "it was hidden": Damage(
        FindingKind.MISSING,
        (
            f"UPDATE freshet.document SET visible_to = now(), end_reason = 'deleted' WHERE {_VISIBLE}",
        ),
    ),
    "as if it had expired": Damage(
        FindingKind.MISSING,
        (
            f"UPDATE freshet.document SET visible_to = now(), end_reason = 'expired' WHERE {_VISIBLE}",
        ),
    ),
    "an older version": Damage(
        FindingKind.STALE,
        (
            f"""UPDATE freshet.document SET is_head = false, visible_to = now(), end_reason = 'replaced'
                WHERE {_VISIBLE}""",
            """UPDATE freshet.document SET is_head = true, visible_to = NULL, end_reason = NULL, end_batch = NULL
                WHERE document_id = '{id}' AND version = 1""",
        ),
    ),
    "a version of its own": Damage(
        FindingKind.NEWER, (f"UPDATE freshet.document SET version = 9 WHERE {_VISIBLE}",)
    ),
    "a copy": Damage(
        FindingKind.EXTRA,
        (
            f"""INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, metadata,
                   content_sha256, observed_at, batch, topic, partition, record_offset)
               SELECT source, '{{id}}-copy', version, kind, true, visible_from, metadata, content_sha256, observed_at,
                   batch, topic, partition, record_offset FROM freshet.document WHERE {_VISIBLE}""",
        ),
        suffix="-copy",
    ),
    "two versions": Damage(
        FindingKind.DUPLICATE,
        (
            "DROP INDEX IF EXISTS freshet.document_visible",
            "UPDATE freshet.document SET visible_to = NULL, end_reason = NULL WHERE document_id = '{id}'",
        ),
    ),
    "another content": Damage(
        FindingKind.WRONG_CONTENT,
        (f"UPDATE freshet.document SET content_sha256 = sha256('x') WHERE {_VISIBLE}",),
    ),
    "other metadata": Damage(
        FindingKind.WRONG_METADATA,
        (f"""UPDATE freshet.document SET metadata = '{{{{"team": "y"}}}}' WHERE {_VISIBLE}""",),
    ),
    "another access list": Damage(
        FindingKind.WRONG_METADATA,
        (f"UPDATE freshet.document SET acl = NULL WHERE {_VISIBLE}",),
    ),
    "a chunk more": Damage(
        FindingKind.CHUNK_WITHOUT_DOCUMENT,
        (
            f"""INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, headings, search_text,
                   space_id, dimensions, embedding, embedding_half, visible_from, batch)
               SELECT source, document_id, sha256('x'), 'x', 1, headings, search_text, space_id, dimensions, embedding,
                   embedding_half, visible_from, batch FROM freshet.chunk WHERE {_VISIBLE}""",
        ),
    ),
    "no chunk": Damage(
        FindingKind.DOCUMENT_WITHOUT_CHUNKS,
        (f"DELETE FROM freshet.chunk WHERE chunk_id = {_CHUNK}",),
    ),
    "a closed chunk": Damage(
        FindingKind.DOCUMENT_WITHOUT_CHUNKS,
        (f"UPDATE freshet.chunk SET visible_to = now() WHERE chunk_id = {_CHUNK}",),
    ),
    "another text": Damage(
        FindingKind.TEXT_HASH_DIFFERS,
        (f"UPDATE freshet.chunk SET text = text || '!' WHERE {_VISIBLE}",),
    ),
    "another space": Damage(
        FindingKind.WRONG_SPACE,
        (
            """INSERT INTO freshet.embedding_space (fingerprint, model, weights, pooling, prefix, dimensions,
                   normalised, token_limit)
               SELECT 'other', model, weights, pooling, prefix, dimensions, normalised, token_limit
               FROM freshet.embedding_space ON CONFLICT DO NOTHING""",
            f"""UPDATE freshet.chunk SET space_id = (
                   SELECT space_id FROM freshet.embedding_space WHERE fingerprint = 'other') WHERE {_VISIBLE}""",
        ),
    ),
    "another vector": Damage(
        FindingKind.VECTOR_OF_OTHER_TEXT,
        (
            f"""UPDATE freshet.chunk SET (embedding, embedding_half) = (
                   SELECT embedding, embedding_half FROM freshet.chunk
                    WHERE document_id = '{{other}}' AND visible_to IS NULL)
                WHERE {_VISIBLE}""",
        ),
    ),
    "another vector, with its hash": Damage(
        FindingKind.STORED_VECTOR_OF_OTHER_TEXT,
        (
            f"""UPDATE freshet.chunk SET (embedding, embedding_half, vector_hash) = (
                   SELECT embedding, embedding_half, vector_hash FROM freshet.chunk
                    WHERE document_id = '{{other}}' AND visible_to IS NULL)
                WHERE {_VISIBLE}""",
        ),
    ),
    "no terms": Damage(
        FindingKind.SEARCH_TEXT_DIFFERS,
        (f"UPDATE freshet.chunk SET search_text = '' WHERE {_VISIBLE}",),
    ),
    "other places": Damage(
        FindingKind.CHUNKS_DIFFER,
        (f"UPDATE freshet.document SET chunk_starts = ARRAY[7] WHERE {_VISIBLE}",),
    ),
}
