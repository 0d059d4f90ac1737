"""Text search: the terms of a question are those of the dictionary of each source, and of each document."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.pipeline import Pipeline, make_event

QUESTION = "university organisation study"


@pytest.fixture
def german(pipeline: Pipeline, tmp_path: Path, cleaner: Any):
    """A German source, first by name, beside the English one."""
    with Pipeline(
        pipeline.database_url,
        tmp_path / "german",
        source="a-german",
        cleaner=cleaner,
        text_search_language="german",
    ) as made:
        made.ingest(make_event("g", 1, "Die Fischer reparieren ihre Netze."))
        pipeline.ingest(make_event("e", 1, "The universities were organising studies."))
        yield made


@pytest.mark.parametrize("sources", [(), ("s",), ("a-german", "s")], ids=repr)
@pytest.mark.parametrize("mode", ["text", "hybrid"])
def test_each_source_is_searched_with_its_own_dictionary(
    german: Pipeline, pipeline: Pipeline, sources: tuple[str, ...], mode: str
) -> None:
    found = [hit.document_id for hit in pipeline.search(QUESTION, mode=mode, sources=sources)]
    assert found[0] == "e"
    fished = pipeline.search("repariert ein Netz", mode=mode, sources=sources)
    assert ([hit.document_id for hit in fished][:1] == ["g"]) is (sources != ("s",))


def test_the_best_of_both_languages_comes_first(german: Pipeline, pipeline: Pipeline) -> None:
    """One order of hits over both: k is the number of hits of all sources together."""
    german.ingest(*(make_event(f"g{n}", 1, f"Ein Bericht über Berlin, Teil {n}") for n in range(5)))
    pipeline.ingest(*(make_event(f"e{n}", 1, f"A report about Berlin, part {n}") for n in range(5)))
    hits = pipeline.search("Berlin", mode="text", k=4)
    assert len(hits) == 4
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    both = pipeline.search("Berlin", mode="text", k=10)
    assert len({hit.document_id for hit in both}) == 10


def test_as_of_an_instant_too(german: Pipeline, pipeline: Pipeline) -> None:
    report = pipeline.ingest(make_event("later", 1, "Universities organise studies again."))
    pipeline.ingest(make_event("later", 2, op="delete"))
    hits = pipeline.search(QUESTION, mode="text", as_of_batch=report.batch, sources=("s",))
    assert {hit.document_id for hit in hits} == {"e", "later"}


def test_sql_clients_get_the_same(german: Pipeline, pipeline: Pipeline) -> None:
    statement = "SELECT document_id FROM freshet.search(NULL, %s, 5, 'text')"
    assert pipeline.connection.execute(statement, (QUESTION,)).fetchall() == [("e",)]
    forced = f"{statement[:-1]}, p_language => 'german')"
    assert pipeline.connection.execute(forced, (QUESTION,)).fetchall() == []


TEXTS = {
    "de": "Die Fischer reparieren ihre Netze im Hafen von Berlin.",
    "en": "The fishers were repairing their nets at the harbour of Berlin.",
    "ru": "Рыбаки чинили свои сети в порту Berlin.",
    "tr": "Balıkçılar Berlin limanında ağlarını onarıyor.",
    "zh": "渔民在柏林港口修补渔网。Berlin",
}


@pytest.fixture
def several(pipeline: Pipeline) -> Pipeline:
    """One source of five languages."""
    pipeline.ingest(*(make_event(name, 1, text, language=name) for name, text in TEXTS.items()))
    return pipeline


def test_one_source_is_searched_with_the_dictionaries_of_its_documents(several: Pipeline) -> None:
    questions = {"Netz": "de", "repaired": "en", "сетью": "ru", "渔网": "zh", "balıkçı": "tr"}
    for question, expected in questions.items():
        found = [hit.document_id for hit in several.search(question, mode="text")]
        assert found == [expected], question
    assert len(several.search("berlin", mode="text")) == 5
    assert len(several.search("berlin", mode="text", sources=("s",), metadata="{}")) == 5


def test_a_chunk_is_matched_by_its_own_dictionary_alone(several: Pipeline) -> None:
    """`die` is a word in English; that German `Die` is none is for German chunks alone to say."""
    several.ingest(make_event("die", 1, "The bees die in winter.", language="en"))
    assert [hit.document_id for hit in several.search("die", mode="text")] == ["die"]
    statement = "SELECT freshet.languages_of(%s)"
    known = ["english", "german", "russian", "simple", "turkish"]
    assert several.connection.execute(statement, (None,)).fetchone() == (known,)
    assert several.connection.execute(statement, (["s"],)).fetchone() == (known,)
    assert several.connection.execute(statement, (["other"],)).fetchone() == ([],)


def test_further_languages_cost_no_further_scan(several: Pipeline) -> None:
    """No document is read, and a term is looked up once, in however many dictionaries it is a term."""
    question = "fishers repaired a net in Berlin"
    in_one = scans(several, "freshet.text_candidates(%s, 'english', 10, 1::smallint", question)
    in_five = scans(several, "freshet.text_candidates_by_language(%s, 10, 1::smallint", question)
    assert in_one["document"] == in_five["document"] == 0
    # Each term is counted once; then those that hold the rare ones are scored, and those that hold any.
    assert in_one["chunk"] <= terms(several, question, "english") + 2
    known = ("english", "german", "russian", "simple", "turkish")
    assert in_five["chunk"] <= terms(several, question, *known) + 2
    assert in_five["source"] <= len(TEXTS) + 1


def terms(pipeline: Pipeline, question: str, *languages: str) -> int:
    """How many terms a question has, in all of these dictionaries together."""
    statement = """SELECT count(DISTINCT t.term) FROM unnest(%s::text[]) AS l (language),
        unnest(freshet.search_terms(freshet.text_config(l.language), %s)) AS t (term)"""
    row = pipeline.connection.execute(statement, (list(languages), question)).fetchone()
    assert row is not None
    return int(row[0])


def scans(pipeline: Pipeline, function: str, question: str) -> dict[str, int]:
    """How often a search looks into each table: index scans, and other scans."""
    connection = pipeline.connection
    counts = """SELECT relname, coalesce(idx_scan, 0) + seq_scan FROM pg_stat_xact_user_tables
                WHERE schemaname = 'freshet'"""
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        before = dict(connection.execute(counts).fetchall())
        found = connection.execute(
            f"SELECT count(*) FROM {function}, NULL, NULL, NULL)", (question,)
        ).fetchone()
        after = dict(connection.execute(counts).fetchall())
    assert found is not None
    assert found[0] > 0
    return {name: after[name] - before[name] for name in after}
