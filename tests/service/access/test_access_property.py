"""Random documents, access lists and readers: every path shows what a simple model says, and nothing else."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from corpus.access.reader import Reader, reading_as
from corpus.answer.await_fresh import current_outcome
from corpus.answer.search import search
from corpus.service import AwaitFreshRequest, DescribeRequest, SearchRequest
from corpus.sql import query
from freshness.scan import describe
from tests.support.pipeline import Pipeline, make_event

GROUPS = ("a", "b", "c", "d")
WORDS = ("sluice", "mill", "weir", "gauge", "keeper")
BATCHES = 14
READINGS = 60
Acl = tuple[str, ...] | None


@dataclass
class Model:
    """What each document's versions were, and who may read them."""

    default: Acl = None
    # Document -> [(first batch, version, access list, is there)], the newest last.
    history: dict[str, list[tuple[int, int, Acl, bool]]] = field(default_factory=dict)

    def allows(self, acl: Acl, who: Reader) -> bool:
        if acl is None:
            acl = self.default
        return acl is None or bool(set(acl) & set(who.groups))

    def is_shown(self, document_id: str, batch: int, who: Reader) -> bool:
        """Whether a reader sees a document as of a batch."""
        if "s" not in who.sources:
            return False
        steps = [step for step in self.history[document_id] if step[0] <= batch]
        if not steps or not steps[-1][3]:
            return False
        newest = self.history[document_id][-1]
        return self.allows(steps[-1][2], who) and self.allows(newest[2], who)

    def shown(self, batch: int, who: Reader) -> set[str]:
        return {name for name in self.history if self.is_shown(name, batch, who)}


def random_acl(chance: random.Random) -> Acl:
    if chance.random() < 0.3:
        return None
    return tuple(chance.sample(GROUPS, chance.randint(0, 2)))


def write(pipeline: Pipeline, model: Model, chance: random.Random, batch: int) -> None:
    """One batch: new documents, new versions, deletes, and access lists that change under a version."""
    events: list[dict[str, Any]] = []
    for name in chance.sample([f"d{n}" for n in range(12)], 4):
        steps = model.history.setdefault(name, [])
        last = steps[-1] if steps else (0, 0, None, False)
        kind = chance.choice(("version", "version", "regrant", "delete"))
        if kind == "delete" and last[3]:
            events.append(make_event(name, last[1] + 1, op="delete"))
            steps.append((batch, last[1] + 1, last[2], False))
            continue
        version = last[1] if kind == "regrant" and last[3] else last[1] + 1
        acl = random_acl(chance)
        # The text changes seldom, so that chunks are reused across versions.
        text = f"The {WORDS[version // 3 % 5]} of {name} and its water level."
        stated = {} if acl is None else {"acl": list(acl)}
        events.append(make_event(name, version, text, **stated))
        steps.append((batch, version, acl, True))
    report = pipeline.ingest(*events)
    assert report.unchanged + report.superseded <= sum(1 for _ in events)


def found(pipeline: Pipeline, who: Reader, mode: str, batch: int | None) -> set[str]:
    as_of = {} if batch is None else {"as_of_batch": batch}
    request = SearchRequest(query="water level", k=50, mode=mode, sources=("s",), **as_of)
    hits = search(pipeline.connection, request, pipeline.embedder.of).hits
    return {hit.document_id for hit in hits}


@pytest.mark.parametrize("seed", [1, 2])
def test_random_access_lists_on_every_path(pipeline: Pipeline, seed: int) -> None:
    chance = random.Random(seed)
    model = Model()
    for batch in range(1, BATCHES + 1):
        write(pipeline, model, chance, batch)
    for _ in range(READINGS):
        model.default = chance.choice((None, ("a",), ()))
        set_default = "UPDATE freshet.source SET spec = spec || jsonb_build_object('default_acl', to_jsonb(%s::text[]))"
        default = None if model.default is None else list(model.default)
        pipeline.connection.execute(set_default, (default,))
        who = Reader(
            name="team:random",
            sources=frozenset({"s"}) if chance.random() < 0.9 else frozenset({"other"}),
            groups=tuple(chance.sample(GROUPS, chance.randint(0, 3))),
        )
        check(pipeline, model, who, chance)


def check(pipeline: Pipeline, model: Model, who: Reader, chance: random.Random) -> None:
    """Every path against the model."""
    now = model.shown(BATCHES, who)
    batch = chance.randint(1, BATCHES)
    connection = pipeline.connection
    with reading_as(connection, who):
        if "s" not in who.sources:
            assert describe(connection, DescribeRequest(source="s")) is None
            counts = "SELECT (SELECT count(*) FROM freshet.document), (SELECT count(*) FROM freshet.chunk)"
            assert connection.execute(counts.encode()).fetchone() == (0, 0)
            return
        for mode in ("vector", "text", "hybrid"):
            assert found(pipeline, who, mode, None) == now, (who, mode)
            assert found(pipeline, who, mode, batch) == model.shown(batch, who), (who, mode, batch)
        described = describe(connection, DescribeRequest(source="s"))
        assert described is not None and described.documents == len(now)
        rows = connection.execute(
            b"SELECT DISTINCT document_id FROM freshet.chunk WHERE visible_to IS NULL"
        ).fetchall()
        assert {row[0] for row in rows} == now
        name = chance.choice(list(model.history))
        newest = model.history[name][-1]
        lineage = {"document_id": name, "source": "s"}
        lines = connection.execute(query("lineage_versions"), lineage).fetchall()
        wait = AwaitFreshRequest(source="s", document_id=name, version=newest[1])
        waited = current_outcome(connection, wait)
        if model.allows(newest[2], who):
            assert lines
            assert waited.reached == newest[3]
        else:
            assert lines == []
            assert "never seen" in waited.detail
        changes = {"source": "s", "batch": batch, "most": 100}
        listed = connection.execute(query("batch_changes"), changes).fetchall()
        counts = connection.execute(
            "SELECT documents_written + documents_deleted FROM freshet.batch_counts('s', %s)",
            (batch,),
        ).fetchone()
        assert counts == (len(listed),)
        for row in listed:
            assert model.allows(model.history[row[0]][-1][2], who)
