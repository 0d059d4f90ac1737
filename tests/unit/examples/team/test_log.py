"""The example team's log has each notice once, whatever a kill left in the file."""

from pathlib import Path

import pytest

from corpus.service import BatchNotice
from examples.team.log import NoticeLog, notice_ids


def notice(batch: int) -> BatchNotice:
    return BatchNotice(
        notice_id=f"peps:{batch}",
        source="peps",
        batch=batch,
        kind="ingest",
        published_at_ms=1,
        previous_batch=batch - 1,
    )


def test_a_notice_is_logged_once_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "notices.jsonl"
    for _ in range(2):
        log = NoticeLog(str(path))
        for batch in (1, 1, 2):
            log.write(notice(batch))
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert notice_ids(path) == {"peps:1", "peps:2"}


@pytest.mark.parametrize(
    "rest",
    [
        b'{"notice_id": "peps:2", "sou',  # cut by a kill
        b'{"notice_id": "peps:2", "title": "\xc3',  # cut inside a character
        b"\x00\x00\x00",  # a block that was never written
        b"5",
        b"[]",
        b"null",
        b'{"batch": 2}',
    ],
    ids=repr,
)
def test_a_damaged_line_hides_no_notice(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "notices.jsonl"
    NoticeLog(str(path)).write(notice(1))
    with path.open("ab") as file:
        file.write(rest)
    log = NoticeLog(str(path))
    for batch in (1, 2):
        log.write(notice(batch))
    assert notice_ids(path) == {"peps:1", "peps:2"}
    lines = path.read_bytes().split(b"\n")
    assert lines[1] == rest
    assert len(lines) == 4  # with the empty one behind the last newline


def test_without_a_file_notices_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    log = NoticeLog(None)
    for batch in (1, 1):
        log.write(notice(batch))
    assert capsys.readouterr().out.count('"notice_id": "peps:1"') == 1
