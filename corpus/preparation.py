"""How a source's documents are prepared: cleaners, chunker, sizes, limits."""

import hashlib
import json
from dataclasses import asdict, dataclass

# Raised when cleaning or splitting gives another result for the same input, so that stored fingerprints tell.
PREPARATION_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationSpec:
    """One source's preparation."""

    content_type: str | None = (
        None  # forces a type for every document; None: the event's, else text/plain
    )
    unknown_content_type: str = "reject"  # or "text": take an unknown media type as plain text
    html: str = "main"  # "main": only the main text; "all": every visible text
    chunker: str = "structure"  # "structure": at headings, paragraphs, sentences; "whole": one chunk a document, cut by the model
    max_tokens: int | None = None  # a chunk's limit, special tokens included; None: the model's
    min_tokens: int = 32  # smaller pieces are joined to a neighbour where they fit
    max_document_bytes: int = 32_000_000  # UTF-8; larger documents are dead-lettered
    max_chunks: int = 50_000  # a document; more are dead-lettered
    max_nesting: int = 512  # depth of HTML elements; deeper documents are read without structure
    clean_timeout_seconds: float = 20.0  # a document; slower ones are dead-lettered

    def fingerprint(self) -> str:
        """16 hex digits over all that changes the result."""
        fields = asdict(self) | {"preparation": PREPARATION_VERSION}
        for limit in ("max_document_bytes", "max_chunks", "clean_timeout_seconds"):
            del fields[limit]  # limits decide whether there is a result, not which
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
