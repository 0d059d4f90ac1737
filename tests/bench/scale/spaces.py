"""What is searched: everything, a source, documents with some metadata, what a reader may read, a day of the past."""

from dataclasses import dataclass

import numpy as np
from psycopg.types.json import Jsonb

from corpus.access.reader import Reader
from tests.bench.scale.made import (
    BATCHES,
    GROUPS,
    SELECTIVITIES,
    SOURCES,
    Flags,
    Made,
    batch_time,
)

NONE = "none"
AS_OF = (10, 50, 90)  # per cent of history
_READERS = {"reader of most": GROUPS[:1], "reader of a tenth": GROUPS[1:]}


@dataclass(frozen=True, slots=True)
class Searched:
    """One way to narrow a search, and the chunks that remain."""

    name: str
    space: Flags  # what the statistics of text search are of: all that the reader may read
    allowed: Flags  # what an answer may have
    parameters: dict[str, object]  # of freshet.search
    reader: Reader | None = None


def present(made: Made) -> list[Searched]:
    """Searches of what is visible now."""
    visible = made.visible()
    every = [Searched(NONE, visible, visible, {})]
    every += [_of_source(made, name, visible) for name in SOURCES if name != "rest"]
    every += [
        _with_metadata(made, kind, selectivity, visible)
        for kind in ("random", "topic")
        for selectivity in SELECTIVITIES
    ]
    return every + [_as_reader(made, name, visible) for name in _READERS]


def past(made: Made) -> list[Searched]:
    """Searches as of some batches."""
    searches = []
    for percent in AS_OF:
        batch = BATCHES * percent // 100
        visible = made.visible(batch)
        name = f"as of {percent} % of history"
        searches.append(Searched(name, visible, visible, {"as_of": batch_time(batch)}))
    return searches


def _of_source(made: Made, name: str, visible: Flags) -> Searched:
    of_source = (made.documents.source == list(SOURCES).index(name))[made.document_of]
    allowed = visible & of_source
    # As everywhere in text search: what is rare is asked of all that the reader may read, not of what is searched.
    return Searched(f"source of {SOURCES[name] * 100:g} %", visible, allowed, {"sources": [name]})


def _with_metadata(made: Made, kind: str, selectivity: str, visible: Flags) -> Searched:
    name = f"metadata of {SELECTIVITIES[selectivity] * 100:g} %"
    name += " at random" if kind == "random" else " by topic"
    allowed = visible & made.has_metadata(kind, selectivity)
    return Searched(name, visible, allowed, {"metadata": Jsonb({f"{kind}{selectivity}": True})})


def _as_reader(made: Made, name: str, visible: Flags) -> Searched:
    groups = _READERS[name]
    access = made.documents.access[made.document_of]
    lists = [GROUPS.index(group) + 1 for group in groups]
    if GROUPS[0] in groups:
        lists.append(0)  # the default of every source
    space = visible & np.isin(access, lists)
    reader = Reader(name="bench", sources=frozenset(SOURCES), groups=groups)
    return Searched(name, space, space, {}, reader)
