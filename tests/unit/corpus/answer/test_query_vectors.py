"""The vectors that a gateway has at hand: of its own readers, bounded, counted, and the model's."""

import asyncio
from typing import Any

import numpy as np
import pytest

from corpus.answer import query_vectors
from corpus.answer.query_vectors import QueryVectors
from corpus.embed.embedder import Vectors
from tests.support.fake_meter import FakeMeter
from workers.roles.figures import QueryFigures


class Model:
    """Embeds a text as its length and the model's number."""

    def __init__(self, asked: list[str], number: int) -> None:
        self.asked = asked
        self.number = number

    def embed_query(self, text: str) -> Vectors:
        self.asked.append(text)
        return np.array([len(text), self.number], np.float32)


class World:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.vectors = QueryVectors()

    def ask(self, reader: str, text: str, model: str = "m", prefix: str = "") -> list[float]:
        models = {"m": 1, "m: ": 2, "n": 3}
        of = self.vectors.of_reader(
            reader, lambda name, before: Model(self.asked, models[name + before])
        )
        return of(model, prefix).embed_query(text).tolist()


@pytest.fixture
def world() -> World:
    return World()


def test_the_same_question_is_embedded_once(world: World) -> None:
    assert [world.ask("team:a", "weir") for _ in range(3)] == [[4, 1]] * 3
    assert world.asked == ["weir"]
    assert (world.vectors.hits, world.vectors.misses) == (2, 1)


def test_no_reader_can_tell_what_another_one_asked(world: World) -> None:
    world.ask("team:a", "weir")
    world.ask("team:b", "weir")
    assert world.asked == ["weir", "weir"]


def test_models_and_prefixes_have_vectors_of_their_own(world: World) -> None:
    kinds = [("m", ""), ("m", ": "), ("n", "")]
    for _ in range(2):
        found = [world.ask("team:a", "weir", model, prefix) for model, prefix in kinds]
        assert found == [[4, 1], [4, 2], [4, 3]]
    assert len(world.asked) == 3


def test_what_was_used_longest_ago_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_vectors, "MOST_OF_A_READER", 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        world.ask("team:a", text)
    assert world.asked == ["a", "b", "c", "b"]


def test_many_questions_of_one_reader_cost_no_other_one_its_vectors(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_vectors, "MOST_OF_A_READER", 2)
    world.ask("team:a", "weir")
    for number in range(10):
        world.ask("team:b", f"question {number}")
    world.ask("team:a", "weir")
    assert world.asked.count("weir") == 1


def test_readers_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_vectors, "MOST_READERS", 2)
    for reader in ("a", "b", "a", "c", "a", "b"):
        world.ask(reader, "weir")
    assert len(world.asked) == 4  # a, b, c, and b again
    assert len(world.vectors._of_readers) == 2


def test_texts_are_not_kept_and_vectors_cannot_be_changed(world: World) -> None:
    vector = world.vectors.of_reader("a", lambda *_: Model([], 1))("m", "").embed_query("secret")
    assert "secret" not in repr(world.vectors._of_readers)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 0


def test_a_question_that_cannot_be_embedded_is_asked_again(world: World) -> None:
    for _ in range(2):
        with pytest.raises(KeyError):
            world.ask("team:a", "weir", "unknown")
    assert (world.vectors.hits, world.vectors.misses) == (0, 2)


def test_hits_and_misses_are_counted(world: World) -> None:
    meter: Any = FakeMeter()
    figures = QueryFigures(meter, world.vectors)
    for text in ("a", "b", "a"):
        world.ask("team:a", text)
    for _ in range(2):
        asyncio.run(figures.update())
    world.ask("team:a", "a")
    asyncio.run(figures.update())
    assert meter.value("freshet_query_vectors", outcome="hit") == 2
    assert meter.value("freshet_query_vectors", outcome="miss") == 2
