"""Sets of questions with their answers: SciFact's train queries, and items of the PEPs that are known to be there."""

import csv
import json
import math
import random
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from corpus.clean.blocks import BlockKind, CleanedDocument
from corpus.clean.cleaner import clean_text
from ingest.event_file import zstd
from tests.bench import data
from tests.support.inputs import DATA

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[A-Za-z_][\w.-]+")
_SECTIONS_PER_PEP = 3


@dataclass(frozen=True)
class Document:
    """A document, cleaned."""

    id: str
    title: str
    content: str
    content_type: str
    cleaned: CleanedDocument


@dataclass(frozen=True)
class Question:
    """What is asked, and what answers it.

    Attributes:
        kind: how the question was made.
        gains: how much each document answers.
        place: character offset in the only document that answers; -1: any of its chunks will do.
    """

    kind: str
    text: str
    gains: dict[str, int]
    place: int = -1


@dataclass(frozen=True)
class Found:
    """A chunk that a search returned."""

    document: str
    start: int
    end: int


@dataclass
class Questions:
    """Documents, and questions about them."""

    name: str
    documents: list[Document]
    questions: list[Question] = field(default_factory=list[Question])

    def scores(self, search: Callable[[Question], Sequence[Found]]) -> dict[str, float]:
        """Mean score by kind of question: nDCG@10 over documents, or the reciprocal rank of the place in ten chunks."""
        scores: dict[str, list[float]] = {}
        for question in self.questions:
            found = search(question)
            score = _ndcg(question, found) if question.place < 0 else _rank(question, found)
            scores.setdefault(question.kind, []).append(score)
        return {kind: round(statistics.mean(each), 4) for kind, each in scores.items()}


def _ndcg(question: Question, found: Sequence[Found]) -> float:
    documents = list(dict.fromkeys(one.document for one in found))[:10]
    gains = [question.gains.get(document, 0) for document in documents]
    ideal = sorted(question.gains.values(), reverse=True)[:10]
    return _discounted(gains) / _discounted(ideal)


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def _rank(question: Question, found: Sequence[Found]) -> float:
    for place, one in enumerate(found[:10], 1):
        if one.document in question.gains and one.start <= question.place < one.end:
            return 1 / place
    return 0.0


# ── SciFact ─────────────────────────────────────────────────────────────────────────────────────────────────────────


TitleAt = Literal["text", "heading", "event"]


def scifact(
    title_at: TitleAt, *, queries: int | None = None, others: int | None = None
) -> Questions:
    """Train queries, with all documents that answer one, and some others.

    Args:
        title_at: where the title is: the first words of the text, a heading above it, or in the event only.
        queries: how many, at random; None: all.
        others: how many; None: all.
    """
    folder = DATA / "retrieval" / "scifact"
    gains: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / "train.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            gains.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    if queries is not None:
        gains = dict(random.Random(7).sample(sorted(gains.items()), queries))
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    texts = {str(row["_id"]): row["text"] for row in map(json.loads, lines)}
    with zstd.open(folder / "corpus.jsonl.zst") as rows:
        documents = [json.loads(row) for row in rows]
    wanted = {document for each in gains.values() for document in each}
    random.Random(5).shuffle(documents)
    rest = [one for one in documents if str(one["_id"]) not in wanted]
    chosen = [one for one in documents if str(one["_id"]) in wanted] + rest[:others]
    return Questions(
        f"SciFact train, title: {title_at}",
        [_abstract(one, title_at) for one in chosen],
        [Question("claim", texts[query], each) for query, each in gains.items()],
    )


def _abstract(row: dict[str, str], title_at: TitleAt) -> Document:
    title, text = row["title"], row["text"]
    written = {"text": f"{title} {text}", "heading": f"# {title}\n\n{text}", "event": text}
    content = written[title_at]
    kind = "markdown" if title_at == "heading" else "plain"
    return Document(
        id=str(row["_id"]),
        title=title if title_at == "event" else "",
        content=content,
        content_type=f"text/{kind}",
        cleaned=clean_text(content, kind),
    )


# ── PEPs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def peps(count: int) -> Questions:
    """Some PEPs, and of each up to three sections of 200 characters and more, as three kinds of questions.

    The answer is the chunk with the section's first sentence. `heading`: the PEP's title and the section's. `words`:
    every second word of the sentence. `title, words`: the PEP's title and these words.
    """
    events = list(data.events("streams/peps.base.jsonl.zst"))
    random.Random(9).shuffle(events)
    rng = random.Random(11)
    made = Questions(f"{count} PEPs", [])
    for event in events[:count]:
        cleaned = clean_text(event["content"], "rst")
        document = Document(
            event["id"], event["title"], event["content"], event["content_type"], cleaned
        )
        made.documents.append(document)
        sections = list(_sections(cleaned))
        rng.shuffle(sections)
        for heading, place, sentence in sections[:_SECTIONS_PER_PEP]:
            made.questions += _about(document, heading, place, sentence)
    return made


def _sections(document: CleanedDocument) -> Iterator[tuple[str, int, str]]:
    """Yield heading, and offset and text of the first sentence."""
    headings = [block for block in document.blocks if block.kind is BlockKind.HEADING]
    ends = [*(heading.start for heading in headings[1:]), len(document.text)]
    for heading, end in zip(headings, ends, strict=True):
        body = document.text[heading.end : end]
        if len(body) >= 200:
            place = heading.end + len(body) - len(body.lstrip())
            sentence = _SENTENCE_END.split(body.strip())[0]
            yield document.text[heading.start : heading.end].split("\n")[0], place, sentence


def _about(document: Document, heading: str, place: int, sentence: str) -> Iterator[Question]:
    words = _WORD.findall(sentence)
    if len(words) < 8:
        return
    half = " ".join(words[::2])
    for kind, text in (
        ("heading", f"{document.title} {heading}"),
        ("words", half),
        ("title, words", f"{document.title} {half}"),
    ):
        yield Question(kind, text, {document.id: 1}, place)
