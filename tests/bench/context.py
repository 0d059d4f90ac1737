"""What headings above a chunk are worth: to the model (`context-*`), and to text search (`headings`)."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.chunk import Chunk
from corpus.clean.cleaner import Cleaner
from corpus.database import migrate
from corpus.embed.embedder import SentenceTransformerEmbedder, Vectors
from corpus.embed.tokenizer import load_tokenizer
from corpus.preparation import Context, PreparationSpec
from corpus.split.splitter import split
from tests.bench.known_items import Found, Question, Questions, peps, scifact
from tests.support.pipeline import Pipeline

MODEL = "all-MiniLM-L6-v2"
PEPS = 60
PEPS_FOR_THE_MODEL = 24
# A sample of SciFact's train queries and of the documents that answer none of them, for the model.
QUERIES = 200
OTHERS = 400
# Contexts by name: what the source asks for, and whether its events have titles.
CONTEXTS: dict[str, tuple[Context, bool]] = {
    "none": ("none", False),
    "headings": ("headings", False),
    "headings, title": ("headings", True),
}
# Chunks that are looked at for ten documents.
_DEEP = 60


def run_scifact() -> dict[str, Any]:
    """The title beside the abstract, or as a heading above it."""
    beside = scifact("event", queries=QUERIES, others=OTHERS)
    above = scifact("heading", queries=QUERIES, others=OTHERS)
    return _vector_scores({"none": beside, "headings, title": beside}) | _vector_scores(
        {"none": above, "headings": above}
    )


def run_peps() -> dict[str, Any]:
    """Items that are known to be in some PEPs."""
    return _vector_scores(dict.fromkeys(CONTEXTS, peps(PEPS_FOR_THE_MODEL)))


def _vector_scores(sets: Mapping[str, Questions]) -> dict[str, Any]:
    """Vector search by comparing with every chunk, by context."""
    embedder = SentenceTransformerEmbedder(MODEL)
    result: dict[str, Any] = {"precision": embedder.precision}
    for name, questions in sets.items():
        asked = {one.text: embedder.embed_query(one.text) for one in questions.questions}
        context, has_title = CONTEXTS[name]
        places, chunks = _chunks(questions, context, has_title)
        vectors = embedder.embed_tokens([chunk.model_ids for chunk in chunks])
        scores = questions.scores(partial(_nearest, asked, vectors, places))
        key = f"{questions.name}; {name}"
        result[key] = {
            "documents": len(questions.documents),
            "questions": len(questions.questions),
            "chunks": len(chunks),
            **scores,
        }
        sys.stderr.write(f"{key}: {result[key]}\n")
    return result


def _nearest(
    asked: Mapping[str, Vectors], vectors: Vectors, places: list[Found], question: Question
) -> list[Found]:
    order = np.argsort(-(vectors @ asked[question.text]))
    return [places[number] for number in order[:_DEEP]]


def _chunks(
    questions: Questions, context: Context, has_title: bool
) -> tuple[list[Found], list[Chunk]]:
    tokenizer = load_tokenizer(MODEL)
    places: list[Found] = []
    chunks: list[Chunk] = []
    for document in questions.documents:
        title = document.title if has_title else None
        for chunk in split(
            document.cleaned, tokenizer, PreparationSpec(), context=context, title=title
        ):
            end = chunk.start + len(chunk.text) - chunk.repeated
            places.append(Found(document.id, chunk.start, end))
            chunks.append(chunk)
    return places, chunks


def run_text() -> dict[str, Any]:
    """Text search on a real database, with the headings in the search texts and without them."""
    result: dict[str, Any] = {}
    sets = (scifact("text"), scifact("heading"), peps(PEPS))
    with tempfile.TemporaryDirectory() as home, Cleaner() as cleaner:
        server = Postgres(home=Path(home), port=free_port(), fsync=False)
        with running(server):
            for number, questions in enumerate(sets):
                name = f"bench_{number}"
                server.create_database(name)
                migrate(server.url_of(name))
                with Pipeline(server.url_of(name), Path(home) / name, cleaner=cleaner) as pipeline:
                    result[questions.name] = _text_scores(pipeline, questions)
    return result


def _text_scores(pipeline: Pipeline, questions: Questions) -> dict[str, Any]:
    events = [
        {
            "id": document.id,
            "op": "upsert",
            "version": 1,
            "content_type": document.content_type,
            "content": document.content,
        }
        for document in questions.documents
    ]
    for first in range(0, len(events), 500):
        pipeline.ingest(*events[first : first + 500])
    with_headings = questions.scores(lambda question: _search(pipeline, question))
    pipeline.connection.execute(
        "UPDATE freshet.chunk SET search_text = freshet.search_text('english', text)"
    )
    without = questions.scores(lambda question: _search(pipeline, question))
    return {
        "documents": len(events),
        "questions": len(questions.questions),
        "with headings": with_headings,
        "without": without,
    }


def _search(pipeline: Pipeline, question: Question) -> Sequence[Found]:
    rows = pipeline.connection.execute(
        "SELECT document_id, start, length(text) FROM freshet.search(NULL, %s, 30, 'text')",
        (question.text,),
    ).fetchall()
    return [Found(document, start, start + length) for document, start, length in rows]
