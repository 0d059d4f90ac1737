"""The real inputs that do not travel with the code: FRESHET_DATA, else `../shared/data` beside the repository.

Whoever has neither is told so by tests that skip; a FRESHET_DATA that lacks them is a mistake, and fails.
"""

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(
    os.environ.get("FRESHET_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
)
_NASTY = DATA / "nasty" / "nasty.jsonl"

needs_inputs = pytest.mark.skipif(
    "FRESHET_DATA" not in os.environ and not _NASTY.exists(),
    reason=f"the hostile records are not here ({_NASTY}); FRESHET_DATA names their folder",
)


@functools.cache
def nasty(*decoders: str) -> tuple[dict[str, Any], ...]:
    """Hostile records that are meant for one of these decoders; none where the file is missing."""
    if not _NASTY.exists():
        return ()
    with _NASTY.open(encoding="utf-8") as file:
        return tuple(record for record in map(json.loads, file) if record["decoder"] in decoders)
