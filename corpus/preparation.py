"""How a source's documents are prepared: cleaners, chunker, sizes, limits."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

# Raised when cleaning or splitting gives another result for the same input, so that stored fingerprints differ.
PREPARATION_VERSION = 3

# Limits decide whether there is a result, not which one; they are no part of the fingerprint.
_LIMITS = frozenset(
    {
        "max_document_bytes",
        "max_chunks",
        "clean_timeout_seconds",
        "min_kept_ratio",
        "on_empty",
    }
)


# What the model is given above a chunk: nothing, or the headings that lead to it.
Context = Literal["none", "headings"]
NO_CONTEXT: Context = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationSpec:
    """The preparation of one source: every setting with its default, its unit and its meaning.

    The tables of `freshet.toml` take defaults from here.
    """

    # Media type of every document, regardless of its event; None: the event's, else text/plain.
    content_type: str | None = None
    # An unknown media type: "reject" makes a dead letter, "text" reads it as plain text.
    unknown_content_type: Literal["reject", "text"] = "reject"
    # "main": only the main text of HTML; "all": every visible text.
    html: Literal["main", "all"] = "main"
    # "structure": chunks end at headings, paragraphs, sentences.
    # "whole": one chunk per document, truncated by the model.
    chunker: Literal["structure", "whole"] = "structure"
    # Greatest number of tokens per chunk, special tokens included; None: the model's limit.
    max_tokens: int | None = None
    # Smaller pieces are joined to a neighbour where they fit.
    min_tokens: int = 32
    # UTF-8 bytes per document; a larger one is a dead letter.
    max_document_bytes: int = 32_000_000
    # Chunks per document; a document of more is a dead letter.
    max_chunks: int = 50_000
    # Depth of HTML elements; a deeper document is read without structure.
    max_nesting: int = 512
    # Time to clean one document; a slower one is a dead letter.
    clean_timeout_seconds: float = 20.0

    # Share of a document's readable characters; of a document that keeps less, the ledger counts a loss.
    min_kept_ratio: float = 0.1
    # A document of whose readable text nothing is left: "dead_letter", or "publish" it without chunks (counted).
    on_empty: Literal["dead_letter", "publish"] = "dead_letter"

    def fingerprint(self) -> str:
        """16 hex digits over everything that changes the result."""
        settings = {
            name: value for name, value in asdict(self).items() if name not in _LIMITS
        }
        settings["preparation"] = PREPARATION_VERSION
        canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
