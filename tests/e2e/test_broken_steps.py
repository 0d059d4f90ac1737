"""Steps that break in ways of their own: completions are lost, a model is slow, hangs, or makes wrong vectors."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from corpus.embed.embedder import Vectors
from corpus.embed.step import EmbedStep
from corpus.errors import DependencyError
from corpus.prepare.preparer import Preparer
from corpus.publish.publisher import Publisher
from corpus.source import SourceSpec
from ingest import operate
from tests.support.fleet import Fleet, check_that_ranges_meet
from tests.support.naming import Named, named
from tests.support.pipeline import make_event
from tests.support.polling import until

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("commands_find_it", "short_standstill"),
]
STEPS = ((Preparer, "prepare"), (EmbedStep, "embed"), (Publisher, "publish"))


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each step of the first two batches is carried out, and then its completion is lost, as if its process died."""
    lost: list[str] = []
    for step, name in STEPS:
        monkeypatch.setattr(step, name, _losing(getattr(step, name), lost, name))
    return lost


def _losing(carry_out: Callable[..., Any], lost: list[str], name: str) -> Callable[..., Any]:
    def lose(self: Any, request: Any) -> Any:
        result = carry_out(self, request)
        if lost.count(name) < 2:
            lost.append(name)
            raise DependencyError("the completion is lost")
        return result

    return lose


async def test_a_step_whose_completion_is_lost_is_repeated_without_effect(
    lost: list[str], live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    for version in (1, 2):
        live.produce(
            topic, [make_event(f"d{n}", version, f"Weir {n} of {version}.") for n in range(5)]
        )
        await live.drained()
    assert sorted(lost) == ["embed", "embed", "prepare", "prepare", "publish", "publish"]
    assert live.visible("s") == {f"d{n}": 2 for n in range(5)}
    [sums] = live.rows(
        """SELECT count(*) AS batches, max(batch) AS newest, sum(records) AS records,
                  sum(texts_embedded) AS texts FROM freshet.batch"""
    )
    assert (sums.batches, sums.records, sums.texts) == (sums.newest, 10, 10)
    assert max(live.embedder.embedded.values()) == 1
    check_that_ranges_meet(live.ranges("s"))
    assert live.epoch("s") == 0


class Broken:
    """Stands for the model of a fleet until it is mended."""

    def __init__(self, live: Fleet, vectors: Callable[[Vectors], Vectors]) -> None:
        self._embedder = live.embedder
        self._right = live.embedder.embed_tokens
        self._vectors = vectors
        live.embedder.embed_tokens = self._embed  # type: ignore[method-assign]

    def _embed(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        return self._vectors(self._right(token_ids))

    def mend(self) -> None:
        """From now on it is the model again."""
        self._embedder.embed_tokens = self._right  # type: ignore[method-assign]


def _out_of_memory(_: Vectors) -> Vectors:
    raise RuntimeError("CUDA out of memory")


def _of_seven_dimensions(vectors: Vectors) -> Vectors:
    return np.ones((len(vectors), 7), np.float32)


@pytest.mark.parametrize(
    ("vectors", "condition", "said"),
    [
        (_out_of_memory, "stuck", "attempt 2: "),
        (_of_seven_dimensions, "halted", "PostgreSQL refuses the statement"),
    ],
    ids=["no memory", "wrong dimension"],
)
async def test_a_model_that_breaks_is_named_and_nothing_is_published_until_it_works(
    vectors: Callable[[Vectors], Vectors],
    condition: str,
    said: str,
    live: Fleet,
    make_topic: Callable[..., str],
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    broken = Broken(live, vectors)
    live.produce(topic, [make_event(f"d{n}", 1, f"Weir number {n}.") for n in range(3)])
    await until(lambda: named(live, "s").condition == condition, seconds=60)
    await until(lambda: said in named(live, "s").why)
    assert live.visible("s") == {}
    assert live.rows("SELECT FROM freshet.embedding") == []
    broken.mend()
    if live.rows("SELECT FROM freshet.source WHERE state = 'halted'"):
        operate.resume(live.connection, "s")
    await live.drained()
    assert live.visible("s") == {f"d{n}": 1 for n in range(3)}


async def test_a_model_that_hangs_is_named_though_its_process_shows_that_it_lives(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    released = threading.Event()

    def hang(vectors: Vectors) -> Vectors:
        released.wait(100)
        return vectors

    Broken(live, hang)
    live.produce(topic, [make_event("d", 1, "Weir.")])
    try:
        shown = await until(lambda: _silent(live))
        assert shown.condition == "stuck"
        assert live.visible("s") == {}
    finally:
        released.set()
    await live.drained()
    assert live.visible("s") == {"d": 1}


def _silent(live: Fleet) -> Named | None:
    shown = named(live, "s")
    return shown if "the model has not answered for" in shown.why else None
