"""How vectors were made. A new fingerprint is a new space; vectors of two spaces are never compared."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

from corpus.preparation import NO_CONTEXT, Context

# What a vector index of pgvector holds: numbers of 32 bits, or of 16.
MAX_DIMENSIONS = 2_000
MAX_HALF_DIMENSIONS = 4_000

# "full": vectors and their index in numbers of 32 bits; "half_index": the index in numbers of 16; "half": both.
Precision = Literal["full", "half_index", "half"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceChoice:
    """What was chosen for the space of a model; it changes no vector that the model makes."""

    name: str
    model: str
    prefix: str
    context: Context
    vectors: Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpec:
    """Everything that changes a vector.

    Precision is not a part of it: vectors of one model in bf16 and fp32 may be mixed (see the README).
    """

    model: str
    """As the user named it, or the folder's name for a local one."""
    weights: str
    """SHA-256 of the weights, or the hub's revision."""
    pooling: str
    """As the model's own configuration says: mean, cls or another mode."""
    prefix: str
    """Put before every document text; empty for most models."""
    dimensions: int
    normalised: bool
    token_limit: int
    """Tokens that the model reads, special tokens included."""
    context: str = NO_CONTEXT
    """What the model is given above a chunk."""

    @property
    def default_precision(self) -> Precision:
        """Of a space for which nobody chose; in SQL: `freshet.vectors_of_space`."""
        return "full" if self.dimensions <= MAX_DIMENSIONS else "half_index"

    def fingerprint(self) -> str:
        """16 hex digits over all fields but the model's display name.

        A space without context has the fingerprint that it had before there was any.
        """
        fields = asdict(self)
        del fields["model"]
        if self.context == NO_CONTEXT:
            del fields["context"]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
