"""Any set of damages is found as it is, nothing more and nothing less, and repaired."""

import random
import sys
from pathlib import Path

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.space_indexes import build_missing
from corpus.sql import query
from tests.support.auditing import Auditor, KeptLog
from tests.support.damage import DAMAGES
from tests.support.fakes import MODEL
from tests.support.pipeline import Pipeline, make_event

SPEC = read_embedding_spec(MODEL, "")
DOCUMENTS = 40
PRECISIONS = ("full", "half")  # of the vectors, one round each


@pytest.mark.timeout(180)
def test_exactly_what_was_damaged_is_found(
    database_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    chosen = random.Random(seed)
    with Pipeline(database_url, tmp_path, cleaner=cleaner) as pipeline:
        auditor = Auditor(pipeline, KeptLog(pipeline))
        # Written in any order, in two partitions, some of them twice.
        written = [(n, version) for n in range(DOCUMENTS) for version in (1, 2)] * 2
        chosen.shuffle(written)
        for first in range(0, len(written), 25):
            some = [
                make_event(
                    f"doc{n}", version, f"Gauge {n} has level {version}.",
                    metadata={"team": "x"}, acl=["readers"],
                )
                for n, version in written[first : first + 25]
            ]  # fmt: skip
            pipeline.ingest(*some, partition=chosen.randrange(2))
        pipeline.ingest(make_event("undamaged", 1, "Nothing is wrong here."))
        truth = pipeline.visible()
        for precision in PRECISIONS:
            choose_vectors(pipeline, precision)
            names = chosen.sample(sorted(DAMAGES), chosen.randrange(len(DAMAGES)))
            # A version of its own row is needed by some; those that were read in the other order have none.
            usable = [n for n in range(DOCUMENTS) if has_two_versions(pipeline, f"doc{n}")]
            broken = chosen.sample(usable, min(len(names), len(usable)))
            expected = {
                DAMAGES[name].do(pipeline, f"doc{n}")
                for name, n in zip(names, broken, strict=False)
            }
            result = auditor.run(deep=10_000)
            assert set(auditor.found(result)) == expected
            auditor.repair(result)
            assert pipeline.visible() == truth
        assert auditor.findings(auditor.run(deep=10_000)) == []


def choose_vectors(pipeline: Pipeline, precision: str) -> None:
    """As `freshet apply` and a storer do it."""
    values = {"fingerprint": SPEC.fingerprint(), "vectors": precision}
    pipeline.connection.execute(query("choose_vectors"), values)
    build_missing(pipeline.database_url)


def has_two_versions(pipeline: Pipeline, document_id: str) -> bool:
    """Whether the corpus has version 1 as well, replaced by version 2, and neither was repaired before."""
    rows = pipeline.connection.execute(
        "SELECT version FROM freshet.document WHERE document_id = %s ORDER BY document_key",
        (document_id,),
    ).fetchall()
    return [row[0] for row in rows] == [1, 2]
