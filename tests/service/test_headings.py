"""Headings above a chunk: text search finds their words, and where the source asks for it the model reads them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from corpus.answer.search import search
from corpus.clean.cleaner import Cleaner
from corpus.errors import SpaceMismatchError
from corpus.preparation import PreparationSpec
from corpus.service import SearchRequest
from corpus.text_search import rebuild_search_texts
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service

SMALL = PreparationSpec(max_tokens=26, min_tokens=1)
SAME = "Turn the wheel until the bell rings, then lock it again."
Make = Callable[..., Pipeline]


def manual(first: str = "Sluice", second: str = "Turbine") -> str:
    """Two sections whose last paragraphs are the same sentence, each a chunk of its own."""
    opening = "Only two keepers may open the big gate at night in {}."
    sections = [
        f"## {name}\n\n{opening.format(month)}\n\n{SAME}"
        for name, month in ((first, "March"), (second, "April"))
    ]
    return "\n\n".join(["# Manual", *sections])


@pytest.fixture
def make(database_url: str, tmp_path: Path, cleaner: Cleaner) -> Iterator[Make]:
    with ExitStack() as stack:

        def one(source: str = "s", **spec: Any) -> Pipeline:
            pipeline = Pipeline(
                database_url, tmp_path, cleaner=cleaner, source=source, pipeline=SMALL, **spec
            )
            return stack.enter_context(pipeline)

        yield one


def chunks(pipeline: Pipeline, text: str = SAME) -> list[tuple[str, bool]]:
    """Headings of the chunks with a text, and whether each is visible, in the order in which they came."""
    return pipeline.connection.execute(
        """SELECT headings, visible_to IS NULL FROM freshet.chunk
           WHERE text = %s AND source = %s ORDER BY chunk_id""",
        (text, pipeline.spec.source),
    ).fetchall()


def found(pipeline: Pipeline, words: str, **request: Any) -> set[str]:
    return {hit.text for hit in pipeline.search(words, mode="text", k=20, **request)}


# ── text search ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_words_of_the_headings_find_every_chunk_below_them(make: Make) -> None:
    pipeline = make()
    report = pipeline.ingest(make_event("a", 1, manual()))
    assert report.texts_embedded == 3
    # The sentence stands below both headings, and is one chunk.
    assert chunks(pipeline) == [("Manual > Sluice\nManual > Turbine", True)]
    for words in ("sluice", "turbines"):
        assert SAME in found(pipeline, words)
        assert len(found(pipeline, words)) == 2
    assert len(found(pipeline, "manual")) == 3


def test_a_chunk_has_other_search_words_after_its_heading_changed(make: Make) -> None:
    pipeline = make()
    first = pipeline.ingest(make_event("a", 1, manual()))
    report = pipeline.ingest(make_event("a", 2, manual(second="Generator")))
    # Only the chunk that begins with the heading has another text.
    assert (report.texts_embedded, report.chunks_opened, report.chunks_reused) == (1, 2, 1)
    assert found(pipeline, "turbine") == set()
    assert SAME in found(pipeline, "generator")
    assert SAME in found(pipeline, "turbine", as_of_batch=first.batch, sources=("s",))
    (hit,) = [hit for hit in pipeline.search("generator", mode="text") if hit.text == SAME]
    assert hit.heading == "Manual > Sluice"  # the first of its places


def test_an_expired_document_that_comes_back_has_its_headings(make: Make) -> None:
    pipeline = make()
    pipeline.ingest(make_event("a", 1, manual()))
    pipeline.expire(after_seconds=0)
    assert found(pipeline, "sluice") == set()
    pipeline.expire(after_seconds=10**9)
    pipeline.ingest(make_event("a", 1, manual()))
    assert len(found(pipeline, "sluice")) == 2


def test_chunks_of_before_get_their_headings(make: Make) -> None:
    pipeline = make()
    pipeline.ingest(make_event("a", 1, manual()))
    pipeline.ingest(make_event("a", 2, manual(second="Generator")))
    right = search_texts(pipeline)
    pipeline.connection.execute(
        "UPDATE freshet.chunk SET headings = NULL, search_text = to_tsvector('english', text)"
    )
    assert found(pipeline, "sluice") == found(pipeline, "march")
    # A version of before keeps its chunks: nothing is closed because its headings are not known.
    longer = (
        manual(second="Generator")
        + "\n\n# Weir\n\nIt holds two metres of water in summer and four in May."
    )
    report = pipeline.ingest(make_event("a", 3, longer))
    assert (report.chunks_opened, report.chunks_reused) == (1, 3)
    done = rebuild_search_texts(pipeline.database_url)
    assert done.rebuilt == len(right)
    assert search_texts(pipeline)[: len(right)] == right
    assert rebuild_search_texts(pipeline.database_url).rebuilt == 0


def search_texts(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return pipeline.connection.execute(
        "SELECT chunk_id, headings, search_text::text FROM freshet.chunk ORDER BY chunk_id"
    ).fetchall()


def test_very_many_headings_are_cut_and_no_batch_fails(make: Make) -> None:
    pipeline = make()
    sections = [f"# Release {n} {'of the canal ' * 12}\n\n{SAME}" for n in range(200)]
    pipeline.ingest(make_event("a", 1, "\n\n".join(sections)))
    (longest,) = pipeline.connection.execute(
        "SELECT max(length(headings)) FROM freshet.chunk"
    ).fetchone() or (0,)
    assert longest == 4_000


# ── context ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_text_below_two_headings_has_a_vector_for_each(make: Make) -> None:
    pipeline = make(context="headings")
    report = pipeline.ingest(make_event("a", 1, manual(), title="Manual"))
    assert report.texts_embedded == 4
    assert sorted(chunks(pipeline)) == [("Manual > Sluice", True), ("Manual > Turbine", True)]
    # Each is nearest to its own heading, and what is shown is the chunk alone.
    for name in ("Sluice", "Turbine"):
        hits = pipeline.search(f"Manual > {name} {SAME}", mode="vector", k=4)
        assert (hits[0].heading, hits[0].text) == (f"Manual > {name}", SAME)


def test_another_heading_embeds_what_is_below_it_and_nothing_else(make: Make) -> None:
    pipeline = make(context="headings")
    pipeline.ingest(make_event("a", 1, manual(), title="Manual"))
    report = pipeline.ingest(make_event("a", 2, manual(second="Generator"), title="Manual"))
    assert (report.texts_embedded, report.chunks_reused) == (2, 2)
    back = pipeline.ingest(make_event("a", 3, manual(), title="Manual"))
    assert back.texts_embedded == 0


def test_another_title_embeds_what_is_below_it(make: Make) -> None:
    pipeline = make(context="headings")
    pipeline.ingest(make_event("a", 1, SAME, title="Gates"))
    assert pipeline.ingest(make_event("a", 2, SAME, title="Gates", uri="u")).texts_embedded == 0
    assert pipeline.ingest(make_event("a", 3, SAME, title="Locks")).texts_embedded == 1
    alone = make("alone")
    alone.ingest(make_event("a", 1, SAME, title="Gates"))
    assert alone.ingest(make_event("a", 2, SAME, title="Locks")).texts_embedded == 0


def test_vectors_with_and_without_context_never_meet(make: Make) -> None:
    plain, below = make("plain"), make("below", context="headings")
    for pipeline in (plain, below):
        pipeline.ingest(make_event("a", 1, SAME, title=""))
    spaces = plain.connection.execute(
        "SELECT context, fingerprint FROM freshet.embedding_space ORDER BY space_id"
    ).fetchall()
    assert [context for context, _ in spaces] == ["none", "headings"]
    assert spaces[0][1] != spaces[1][1]
    request = SearchRequest(query=SAME, sources=("plain", "below"))
    with pytest.raises(SpaceMismatchError, match="context headings"):
        search(plain.connection, request, plain.embedder.of)


PAGE = (
    "<html><body><main><h1>Manual</h1><p>A first paragraph about the manual of the mill and the weir.</p>"
    "<{tag}>Sluice</{tag}><p>"
    + SAME
    + "</p><p>Keepers never sleep beside the gate at night, in March "
    "or in April, and they go home by the river.</p></main></body></html>"
)


@pytest.mark.parametrize("context", ["none", "headings"])
def test_a_line_that_becomes_a_heading_is_above_what_follows(make: Make, context: str) -> None:
    """The cleaned text of the page is the same; what stands above its chunks is not."""
    pipeline = make(context=context)
    pipeline.ingest(make_event("a", 1, PAGE.format(tag="p"), content_type="text/html"))
    report = pipeline.ingest(make_event("a", 2, PAGE.format(tag="h2"), content_type="text/html"))
    assert report.chunks_opened > 0
    headings = [
        heading
        for (found,) in pipeline.connection.execute(
            "SELECT chunk_headings FROM freshet.document WHERE visible_to IS NULL"
        )
        for heading in found
    ]
    assert "Manual > Sluice" in headings
    assert any(SAME in hit.text for hit in pipeline.search("sluice", mode="text"))


def test_a_page_of_the_same_structure_keeps_its_chunks(make: Make) -> None:
    pipeline = make()
    page = PAGE.format(tag="h2")
    pipeline.ingest(make_event("a", 1, page, content_type="text/html"))
    changed = page.replace("<main>", '<main class="wide">')
    report = pipeline.ingest(make_event("a", 2, changed, content_type="text/html"))
    assert (report.chunks_opened, report.texts_embedded) == (0, 0)
