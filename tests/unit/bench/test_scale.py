"""The measurement at scale judges answers rightly: its exact scores, its corpus and its charts."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.bench.scale import charts
from tests.bench.scale.charts import Dot, Row
from tests.bench.scale.exact import K1, B, ExactText, fused, judge
from tests.bench.scale.made import BATCHES, SOURCES, Made, make
from tests.bench.scale.questions import KINDS, questions
from tests.bench.scale.ratios import ratios
from tests.bench.scale.spaces import past, present


@pytest.fixture(scope="module")
def made() -> Made:
    return make(600, seed=5)


def analyse(text: str) -> list[str]:
    return list(dict.fromkeys(text.lower().split()))


def naive_scores(made: Made, question: str, space: list[int]) -> dict[int, float]:
    """BM25 as its definition says, word by word."""
    texts = {chunk: made.text(chunk).lower().replace(".", "").split() for chunk in space}
    lengths = dict(zip(space, made.token_counts()[space].tolist(), strict=True))
    average = sum(lengths.values()) / len(space)
    scores = dict.fromkeys(space, 0.0)
    for term in analyse(question):
        holding = [chunk for chunk in space if term in texts[chunk]]
        rarity = math.log(1 + (len(space) - len(holding) + 0.5) / (len(holding) + 0.5))
        for chunk in holding:
            count = texts[chunk].count(term)
            norm = K1 * (1 - B + B * lengths[chunk] / average)
            scores[chunk] += rarity * count * (K1 + 1) / (count + norm)
    return scores


def test_exact_scores_are_those_of_the_definition(made: Made) -> None:
    exact = ExactText(made, analyse)
    asked = questions(made, 6)
    exact.add([question.text for question in asked])
    [searched] = [one for one in present(made) if one.name == "source of 30 %"]
    space = np.flatnonzero(searched.space).tolist()

    for question in asked:
        scores = exact.scores(question.text, searched.space)
        wanted = naive_scores(made, question.text, space)
        assert scores[space] == pytest.approx([wanted[chunk] for chunk in space])
        assert not scores[~searched.space].any()


def test_whatever_scores_as_the_last_one_does_is_right() -> None:
    scores = np.array([3.0, 2.0, 2.0, 1.0, -np.inf])
    allowed = np.array([True, True, True, True, True])

    assert judge([0, 2], scores, allowed, 2, 1e-6).right == 2
    assert judge([0, 3], scores, allowed, 2, 1e-6).right == 1


def test_an_answer_from_outside_of_the_filter_is_foreign() -> None:
    scores = np.array([3.0, 2.0, -np.inf])
    allowed = np.array([False, True, True])

    judged = judge([0, 1, 2], scores, allowed, 2, 1e-6)

    assert (judged.wanted, judged.right, judged.foreign) == (1, 1, 2)


def test_a_search_that_can_find_nothing_wants_nothing() -> None:
    judged = judge([0], np.array([-np.inf]), np.array([True]), 10, 1e-6)

    assert (judged.wanted, judged.right, judged.foreign) == (0, 0, 1)


def test_a_chunk_in_both_lists_scores_above_the_first_of_one() -> None:
    of_vectors = np.array([0.9, 0.8, 0.1])
    of_texts = np.array([-np.inf, 5.0, 7.0])
    allowed = np.array([True, True, False])

    scores = fused(of_vectors, of_texts, allowed)

    assert scores.tolist() == [1 / 61, 1 / 62 + 1 / 61, 0]


def test_the_same_seed_makes_the_same_corpus(made: Made) -> None:
    again = make(600, seed=5)

    assert np.array_equal(again.words, made.words)
    assert np.array_equal(again.vectors, made.vectors)
    assert [one.text for one in questions(again, 9)] == [one.text for one in questions(made, 9)]


def test_a_version_of_each_document_is_visible_and_a_quarter_of_the_chunks_is_history(
    made: Made,
) -> None:
    documents = made.documents
    names = documents.name[documents.end_batch == 0]

    assert len(set(names.tolist())) == len(names)
    assert 1 - made.visible().mean() == pytest.approx(0.25, abs=0.02)
    assert np.array_equal(made.visible(BATCHES), made.visible())
    assert (documents.end_batch[documents.end_batch > 0] <= BATCHES).all()
    assert int(documents.chunks.sum()) == made.chunks


def test_words_have_the_frequencies_of_zipf() -> None:
    made = make(5_000, seed=5)
    counts = np.sort(np.bincount(made.words))[::-1]
    ranks = np.arange(100, 5_000)

    slope, _ = np.polyfit(np.log(ranks + 1), np.log(counts[ranks]), 1)

    assert -1.4 < slope < -0.8


def test_searched_spaces_are_subsets_of_what_is_visible(made: Made) -> None:
    searches = present(made)

    assert all(not (one.allowed & ~made.visible()).any() for one in searches)
    assert len({one.name for one in [*searches, *past(made)]}) == len(searches) + 3
    of_sources = [one for one in searches if one.name.startswith("source")]
    assert len(of_sources) == len(SOURCES) - 1


def test_rare_questions_have_rarer_words_than_common_ones(made: Made) -> None:
    counts = np.bincount(made.words, minlength=len(made.vocabulary.words))
    count_of = dict(zip(made.vocabulary.words, counts.tolist(), strict=True))
    medians = {
        kind: np.median(
            [count_of[w] for q in questions(made, 60) if q.kind == kind for w in q.text.split()]
        )
        for kind in KINDS
    }

    assert medians["rare"] < medians["mixed"] < medians["common"]


def test_a_logarithmic_axis_holds_all_of_its_values() -> None:
    axis = charts.logarithmic("ms", [0.0, 3.2, 940.0])

    assert (axis.first, axis.last) == (2.0, 1000.0)
    assert axis.place(3.2) < axis.place(940.0) < axis.place(1000.0)


def test_charts_are_well_formed_and_escape_names() -> None:
    axis = charts.linear("ms", 9.0)
    drawn = charts.dots("a & b", axis, [Row("<row>", [Dot(0, 2.0, 4.0, "x < y")])], ["s"])

    texts = [one.text for one in ElementTree.fromstring(drawn).iter() if one.text]

    assert "<row>" in texts
    assert "x < y" in texts


def test_ratios_are_of_the_same_search() -> None:
    figures = {"searched": "none", "chunks": 1, "pages": 10, "p99 ms": 4.0, "CPU ms": 2.0}
    before = {**figures, "revision": "baseline", "mode": "text", "p50 ms": 4.0, "recall@10": 0.8}
    now = {**figures, "revision": "now", "mode": "text", "p50 ms": 1.0, "recall@10": 0.9}
    other = {**now, "mode": "vector"}

    [row] = ratios([other, before, now])

    assert (row["p50 ms"], row["recall@10 before"], row["recall@10 now"]) == (0.25, 0.8, 0.9)
