"""Times, work and recall of searches; each question goes to every database before the next one is asked."""

import statistics
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from corpus.access.reader import reading_as
from tests.bench.scale.exact import ExactText, Judged, Lexemes, Scores, fused, judge, similarities
from tests.bench.scale.load import made_chunk
from tests.bench.scale.made import Made
from tests.bench.scale.questions import KINDS, Question
from tests.bench.scale.revision import Revision
from tests.bench.scale.spaces import Searched

MODES = ("vector", "text", "hybrid")
K = 10
_WARM_UP = 3  # questions that are asked before times count
_EXPLAIN_EVERY = 5  # of how many questions the pages that are read are counted once
_TOLERANCE = {"vector": 1e-5, "text": 1e-6, "hybrid": 1e-9}
_SEARCH = """
SELECT chunk_id FROM freshet.search(%(vector)s::vector, %(text)s, %(k)s, %(mode)s, NULL, %(sources)s,
                                    %(metadata)s, %(as_of)s)"""
_NO_FILTER = {"sources": None, "metadata": None, "as_of": None}


@dataclass(slots=True)
class Measured:
    """Searches of one mode in one space by one revision."""

    milliseconds: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # of the questions
    rows: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """What is reported."""
        return {
            **_times(self.milliseconds),
            "CPU ms": round(self.cpu_seconds * 1000 / len(self.milliseconds), 2),
            "pages": round(statistics.median(self.pages)),
            "rows": round(statistics.mean(self.rows), 2),
            **_recall(self.judged),
        }

    def of_kind(self, kind: str) -> dict[str, Any]:
        """The same for one kind of question."""
        places = [n for n, one in enumerate(self.kinds) if one == kind]
        judged = [self.judged[n] for n in places]
        return {**_times([self.milliseconds[n] for n in places]), **_recall(judged)}


def _times(milliseconds: list[float]) -> dict[str, float]:
    ordered = sorted(milliseconds)
    return {
        "p50 ms": round(statistics.median(ordered), 2),
        "p99 ms": round(ordered[int(len(ordered) * 0.99 - 1e-9)], 2),
    }


def _recall(judged: list[Judged]) -> dict[str, Any]:
    wanted = sum(one.wanted for one in judged)
    if not wanted:
        return {}
    return {
        "recall@10": round(sum(one.right for one in judged) / wanted, 4),
        "foreign": sum(one.foreign for one in judged),
    }


class Searcher:
    """Asks questions of a made corpus and knows the answers."""

    def __init__(self, made: Made, revisions: Sequence[Revision], asked: list[Question]) -> None:
        self._made = made
        self._revisions = revisions
        self._asked = asked
        lexemes = Lexemes(revisions[0].connection, made.vocabulary.words)
        self.exact = ExactText(made, lexemes)
        self.exact.add([question.text for question in asked])
        self._near = [similarities(made.vectors, question.vector) for question in asked]

    def measure(self, mode: str, searched: Searched, count: int) -> dict[str, Measured]:
        """Ask the first questions of all revisions; answers by the name of the revision."""
        asked = self._asked[:count]
        measured = {revision.name: Measured() for revision in self._revisions}
        for question in asked[:_WARM_UP]:
            for revision in self._revisions:
                _ask(revision, mode, searched, question)
        for number, question in enumerate(asked):
            exact = self._exact_scores(mode, searched, number)
            for revision in self._revisions:
                self._measure_one(
                    measured[revision.name], revision, mode, searched, question, exact
                )
        for number in range(0, len(asked), _EXPLAIN_EVERY):
            for revision in self._revisions:
                pages = _pages(revision, mode, searched, asked[number])
                measured[revision.name].pages.append(pages)
        return measured

    def _measure_one(
        self,
        measured: Measured,
        revision: Revision,
        mode: str,
        searched: Searched,
        question: Question,
        exact: Scores,
    ) -> None:
        cpu = _cpu_seconds(revision)
        began = time.perf_counter()
        chunks = _ask(revision, mode, searched, question)
        measured.milliseconds.append((time.perf_counter() - began) * 1000)
        measured.cpu_seconds += _cpu_seconds(revision) - cpu
        measured.kinds.append(question.kind)
        measured.rows.append(len(chunks))
        judged = judge(chunks, exact, searched.allowed, K, _TOLERANCE[mode])
        measured.judged.append(judged)

    def _exact_scores(self, mode: str, searched: Searched, number: int) -> Scores:
        near = self._near[number]
        if mode == "vector":
            return near
        scores = self.exact.scores(self._asked[number].text, searched.space)
        of_texts = np.where(scores > 0, scores, -np.inf)
        return of_texts if mode == "text" else fused(near, of_texts, searched.allowed)


def _reading(revision: Revision, searched: Searched) -> AbstractContextManager[object]:
    if searched.reader is None:
        return revision.connection.transaction()
    return reading_as(revision.connection, searched.reader)


def _parameters(mode: str, searched: Searched, question: Question) -> dict[str, object]:
    asked = {"vector": question.vector, "text": question.text, "k": K, "mode": mode}
    return _NO_FILTER | asked | searched.parameters


def _ask(revision: Revision, mode: str, searched: Searched, question: Question) -> list[int]:
    with _reading(revision, searched):
        cursor = revision.connection.execute(
            _SEARCH.encode(), _parameters(mode, searched, question)
        )
        return [made_chunk(row[0]) for row in cursor]


def _pages(revision: Revision, mode: str, searched: Searched, question: Question) -> int:
    """Shared buffers that a search touches, in memory or not."""
    statement = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {_SEARCH}"
    with _reading(revision, searched):
        row = revision.connection.execute(
            statement.encode(), _parameters(mode, searched, question)
        ).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def _cpu_seconds(revision: Revision) -> float:
    times = psutil.Process(revision.connection.info.backend_pid).cpu_times()
    return times.user + times.system


def by_kind(measured: Measured) -> dict[str, Any]:
    """Figures of each kind of question."""
    return {kind: measured.of_kind(kind) for kind in KINDS}
