"""How vectors were made. A new fingerprint is a new space; vectors of two spaces are never compared."""

import hashlib
import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpec:
    """Everything that changes a vector. Precision is not in it: bf16 and fp32 of one model may be mixed (see README)."""

    model: str  # as the user named it, or the folder's name for a local one
    weights: str  # sha256 of the weights file, or the hub's revision
    pooling: str  # "mean", "cls", ... as the model's own configuration says
    prefix: str  # put before every document text; empty for most models
    dimensions: int
    normalised: bool
    token_limit: int  # tokens the model reads, special tokens included

    def fingerprint(self) -> str:
        """16 hex digits over all fields but the model's display name."""
        fields = asdict(self)
        del fields["model"]
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
