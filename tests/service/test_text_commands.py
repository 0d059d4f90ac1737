"""What commands say about text that a model does not know."""

import json

import pytest

from compose.local.checks import make_check
from compose.local.text_check import TEXT_CHECK
from freshness import scan
from freshness.policy import FreshnessStatus
from freshness.report import FreshnessReport
from tests.support.pipeline import Pipeline, make_event
from workers.cli.commands import corpus, freshness

pytestmark = pytest.mark.service

THAI = "ประตูระบายน้ำจะเปิดเมื่อระดับน้ำลดลงต่ำกว่าเครื่องหมายในคู่มือ"


@pytest.fixture
def known_in_part(
    pipeline: Pipeline, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Pipeline:
    """A source of one English and one Thai document, found by commands."""
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    pipeline.ingest(
        make_event("english", 1, "The sluice opens when the water falls."),
        make_event("thai", 1, THAI),
    )
    return pipeline


@pytest.mark.usefixtures("known_in_part")
def test_documents_lists_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    corpus.documents(unknown=True)
    shown = capsys.readouterr().out
    assert "100.0%" in shown
    assert "english" not in shown
    corpus.documents(unknown=True, above=1.0)
    nothing = capsys.readouterr()
    assert "thai" not in nothing.out
    assert "of every document the model knows" in nothing.out + nothing.err


@pytest.mark.usefixtures("known_in_part")
def test_lineage_says_what_the_model_reads(capsys: pytest.CaptureFixture[str]) -> None:
    corpus.lineage("thai")
    said = "; 1 tokens, 1 of them unknown to the model, which stand for 62 characters"
    assert said in capsys.readouterr().out
    corpus.lineage("english")
    assert "unknown" not in capsys.readouterr().out


def test_the_freshness_report_names_share_and_worst(
    known_in_part: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = scan.measure(known_in_part.connection, "s")
    report = FreshnessReport(
        source="s",
        status=FreshnessStatus.PASS,
        snapshotted_at_ms=measured.snapshotted_at_ms,
        spec=measured.spec,
        duration_seconds=0.0,
        workflow_id="w",
        run_id="r",
        newest_ms=measured.newest_ms,
        unknown=measured.unknown,
        unknown_ratio=measured.unknown_ratio,
    )
    scan.record(known_in_part.connection, report)
    assert freshness.report("s") == 0
    shown = capsys.readouterr()
    assert "1 (66.0%)" in shown.out
    assert "much of 1 documents, most of thai (100%)" in shown.err
    freshness.report("s", as_json=True)
    shown = capsys.readouterr()
    (result,) = json.loads(shown.out)["results"]
    assert result["adapter_response"]["unknown"] == 1
    assert shown.err == ""


def test_doctor_fails_the_check_and_names_the_source(
    known_in_part: Pipeline, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = make_check(TEXT_CHECK, tmp_path_factory.mktemp("home"))
    assert not made.ok
    source = known_in_part.spec.source
    assert made.observed.startswith(f"{source}: 66.0% of the characters unknown to")
