"""Why a source stands still, as far as Temporal knows it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio.service import RPCError

from corpus.errors import FreshetError
from ingest.condition import NEEDS_ATTENTION, Condition
from workers.config.settings import Settings
from workers.stages import SourceStages, StageWatcher


def explain(settings: Settings, rows: Sequence[dict[str, Any]]) -> None:
    """Add to the rows of `ingest.overview` what the batches of sources that stand still do.

    A source whose batch is being worked on is `behind`, however long that takes.
    """
    standing = [row for row in rows if row["why"] and row["why"] == row["stands"]]
    if not standing:
        return
    sources = [row["source"] for row in standing]
    stages: dict[str, SourceStages] = {}
    problem = ""
    try:
        stages = asyncio.run(StageWatcher(settings).look(sources))
    except (FreshetError, RPCError) as error:
        problem = f"what its batches do is not known: {error}"
    for row in standing:
        known = stages.get(row["source"], SourceStages())
        if known.is_working:
            row["condition"] = Condition.BEHIND.value
            row["why"] = str(known)
        else:
            row["why"] += f"; {known if known.is_known else problem}"


def needing_attention(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a person must look at, one sentence per source."""
    return [
        f"{row['source']} is {row['condition']}: {row['why']}"
        for row in rows
        if row["condition"] in NEEDS_ATTENTION
    ]
