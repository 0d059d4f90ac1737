"""Why a source stands still, as far as Temporal knows it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.service import RPCError

from corpus.disclosure.error_text import public_text
from corpus.errors import FreshetError
from ingest.condition import NEEDS_ATTENTION, Condition
from ingest.decode.registry.schemas import registry
from workers.config.settings import Settings
from workers.schema_registry import use_schema_registry
from workers.stages import SourceStages, StageWatcher


def explain(settings: Settings, rows: Sequence[dict[str, Any]]) -> None:
    """Add to the rows of `ingest.overview` what the batches of sources that stand still do."""
    sources = [row["source"] for row in rows if _stands(row)]
    if not sources:
        return
    stages: dict[str, SourceStages] = {}
    problem = ""
    try:
        stages = asyncio.run(StageWatcher(settings).look(sources))
    except (FreshetError, RPCError) as error:
        problem = f"what its batches do is not known: {public_text(error)}"
    explain_by(rows, stages, problem)
    _explain_by_registry(settings, rows)


def _explain_by_registry(settings: Settings, rows: Sequence[dict[str, Any]]) -> None:
    """Add why the schema registry gives no answer, where a source that is stuck needs one."""
    stuck = [
        row
        for row in rows
        if row["condition"] == Condition.STUCK and row.get("needs_registry")
    ]
    if not stuck:
        return
    use_schema_registry(settings)
    try:
        registry().probe()
    except FreshetError as error:
        for row in stuck:
            row["why"] += f"; {error}"


def explain_by(
    rows: Sequence[dict[str, Any]], stages: Mapping[str, SourceStages], problem: str
) -> None:
    """Add to the rows of `ingest.overview` what is known of the batches of sources that stand still.

    A source whose batch is being worked on is `behind`, however long that takes.

    Args:
        rows: of all sources.
        stages: by source.
        problem: why they are not known, if so.
    """
    for row in rows:
        if not _stands(row):
            continue
        known = stages.get(row["source"], SourceStages())
        doing = str(known)
        if known.is_working:
            row["condition"] = Condition.BEHIND.value
            row["why"] = doing
            continue
        if not known.is_known:
            doing = problem
        row["why"] += f"; {doing}"


def _stands(row: Mapping[str, Any]) -> bool:
    """Whether all that is wrong is that nothing is published."""
    return bool(row["why"]) and row["why"] == row["stands"]


def needing_attention(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a person must look at, one sentence per source."""
    return [
        f"{row['source']} is {row['condition']}: {row['why']}"
        for row in rows
        if row["condition"] in NEEDS_ATTENTION
    ]
