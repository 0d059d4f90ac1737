"""The examples in the READMEs do what they say: SQL from a plain client, Python as it is written."""

import re
from pathlib import Path

import psycopg
import pytest

from tests.support.fakes import HashEmbedder
from tests.support.pipeline import Pipeline, make_event

ROOT = Path(__file__).resolve().parents[2]


def blocks(language: str, document: str = "corpus/README.md") -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def corpus(database_url: str, tmp_path: Path):
    with Pipeline(database_url, tmp_path, source="peps") as pipeline:
        about = {"title": "PEP 703", "metadata": {"status": "Final"}}
        pipeline.ingest(
            make_event(
                "pep-0703",
                1,
                "# Free threading\n\nThe global interpreter lock becomes optional.",
                **about,
            )
        )
        yield pipeline


def test_sql(corpus: Pipeline) -> None:
    statements = [
        statement for block in blocks("sql") for statement in block.split(";") if statement.strip()
    ]
    of_administrators = [one for one in statements if " ROLE " in one]
    of_readers = [one for one in statements if one not in of_administrators]
    assert len(of_readers) >= 2
    now, as_of = of_readers[-2:]
    before, after = (
        re.sub(r"'2026[^']*'", f"'{instant}'", as_of) for instant in ("2000-01-01", "infinity")
    )
    with psycopg.connect(corpus.database_url) as connection:
        found = [
            connection.execute(statement.encode()).fetchall()
            for statement in (now, as_of, before, after)
        ]
        for statement in (*of_administrators, *of_readers):
            connection.execute(statement.encode())
        connection.rollback()
    assert [row[1] for row in found[0]] == ["pep-0703"]
    assert found[2:] == [[], [("pep-0703", 1)]]


def test_a_vector_of_another_length_is_refused(corpus: Pipeline) -> None:
    with (
        psycopg.connect(corpus.database_url) as connection,
        pytest.raises(psycopg.Error, match="the query has 3 dimensions"),
    ):
        connection.execute("SELECT * FROM freshet.search('[1,2,3]', NULL, 5, 'vector')")


@pytest.mark.parametrize("document", ["README.md", "corpus/README.md"])
def test_python(
    corpus: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    document: str,
) -> None:
    for name in ("FRESHET_KAFKA_BOOTSTRAP", "TEMPORAL_ADDRESS"):
        monkeypatch.setenv(name, "unused")
    monkeypatch.setenv("FRESHET_DATABASE_URL", corpus.database_url)
    monkeypatch.setattr("workers.roles.models.LoadedModels", lambda settings: HashEmbedder())
    (example,) = blocks("python", document)
    exec(compile(example, document, "exec"), {})
    assert capsys.readouterr().out.startswith("pep-0703 1 ")
