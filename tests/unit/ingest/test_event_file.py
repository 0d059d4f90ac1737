"""Lines of files that are damaged, cut off, joined or of another system; resume files that are damaged."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import ConfigurationError
from ingest.event_file import ResumeFile, key_of, lines_of, zstd

TEXT = b"".join(b'{"id": "%d", "content": "%d"}\n' % (n, n**5) for n in range(2_000))
FRAME = zstd.compress(TEXT)
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"  # a frame of user data, which `zstd` leaves out
MAX_BYTES = 1_000


def read(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    return b"".join(lines_of(str(path), MAX_BYTES))


# ── zstd ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("frames", "times"),
    [((FRAME,), 1), ((FRAME, FRAME), 2), ((SKIPPABLE, FRAME, SKIPPABLE, FRAME), 2)],
    ids=["one", "concatenated", "skippable"],
)
def test_frames_are_read_one_after_the_other(
    tmp_path: Path, frames: tuple[bytes, ...], times: int
) -> None:
    assert read(tmp_path / "e.zst", b"".join(frames)) == TEXT * times


def test_a_line_may_cross_from_one_frame_into_the_next(tmp_path: Path) -> None:
    frames = [zstd.compress(part) for part in (TEXT[:1_001], b"", TEXT[1_001:])]
    assert read(tmp_path / "e.zst", b"".join(frames)) == TEXT


@pytest.mark.parametrize("kept", [0, 1, 3, 10, len(FRAME) // 2, len(FRAME) - 1])
@pytest.mark.parametrize("before", [b"", FRAME], ids=["first frame", "second frame"])
def test_a_file_that_ends_inside_a_frame_is_named(tmp_path: Path, before: bytes, kept: int) -> None:
    if before and not kept:
        return  # a whole file
    with pytest.raises(ConfigurationError, match=r"e\.zst is cut off: it ends inside a zstd frame"):
        read(tmp_path / "e.zst", before + FRAME[:kept])


def test_what_comes_before_the_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "e.zst").write_bytes(FRAME + FRAME[:-1])
    lines: list[bytes] = []
    with pytest.raises(ConfigurationError, match="cut off"):
        lines.extend(lines_of(str(tmp_path / "e.zst"), MAX_BYTES))
    assert len(lines) >= 2_000


@pytest.mark.parametrize("data", [b"no zstd at all", FRAME + b"garbage", FRAME + bytes(8)])
def test_what_is_not_zstd_is_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"e\.zst is not zstd, or is damaged"):
        read(tmp_path / "e.zst", data)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_an_error_or_another_text(at: int, mask: int) -> None:
    damaged = FRAME[:at] + bytes([FRAME[at] ^ mask]) + FRAME[at + 1 :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "e.zst"
        try:
            assert len(read(path, damaged)) <= 10 * len(TEXT)
        except ConfigurationError as error:
            assert str(path) in str(error)


def test_a_line_of_zeros_that_was_compressed_well_is_not_read_whole(tmp_path: Path) -> None:
    bomb = zstd.compress(bytes(200_000_000))
    assert len(bomb) < 20_000
    with pytest.raises(
        ConfigurationError, match=r"e\.zst:1: the line is longer than the 998 bytes"
    ):
        read(tmp_path / "e.zst", bomb)


# ── plain files ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "count"),
    [(b"", 0), (b"\n", 1), (b"a", 1), (b"a\r\nb\r\n", 2), (b"a\nb", 2), (b"a\rb\x0b\x85c\n", 1)],
)
def test_lines_end_with_line_feed_only(tmp_path: Path, data: bytes, count: int) -> None:
    (tmp_path / "e.jsonl").write_bytes(data)
    lines = list(lines_of(str(tmp_path / "e.jsonl"), MAX_BYTES))
    assert (len(lines), b"".join(lines)) == (count, data)


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize(("size", "fits"), [(999, True), (1_000, True), (1_001, False)])
def test_a_line_has_so_many_bytes_at_most(
    tmp_path: Path, size: int, fits: bool, end: bytes
) -> None:
    data = b"x\n" + b"x" * (size - len(end)) + end
    if fits:
        assert read(tmp_path / "e.jsonl", data) == data
        return
    with pytest.raises(ConfigurationError, match=r"e\.jsonl:2: the line is longer"):
        read(tmp_path / "e.jsonl", data)


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.zst", ".", "with\nline break"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(lines_of(str(tmp_path / name), MAX_BYTES))


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_the_id() -> None:
    assert key_of(b'{"id": "d\xc3\xa9", "content": 1}\n', 1, "f") == b"d\xc3\xa9"


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b'{"id": 5}', b'{"id": null}', b'{"id": "\xff"}'),
        *(b'{"id": "\\ud800"}', b"[" * 100_000, b'\xef\xbb\xbf{"id": "a"}', b'{"id": "a"} x'),
    ],
    ids=lambda line: ascii(line)[:20],
)
def test_a_line_without_a_usable_id_is_named(line: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^f\.jsonl:7: not an event with a text `id`"):
        key_of(line, 7, "f.jsonl")


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_line_raises_anything_else(line: bytes) -> None:
    with suppress(ConfigurationError):
        assert isinstance(key_of(line, 1, "f"), bytes)


# ── resuming ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "e.jsonl"
    path.write_bytes(TEXT)
    return path


def stored(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_was_written_is_read_by_the_next_run(events: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "produced"
    assert ResumeFile(str(events), "t", folder).read() == 0
    ResumeFile(str(events), "t", folder).write(17)
    assert ResumeFile(str(events), "t", folder).read() == 17
    assert ResumeFile(str(events), "another-topic", folder).read() == 0
    assert stored(folder).suffix == ".json"  # no temporary file is left


@pytest.mark.parametrize("changed", [TEXT + b"\n", b" " + TEXT[1:]], ids=["size", "beginning"])
def test_another_file_of_the_name_starts_at_its_first_line(
    events: Path, tmp_path: Path, changed: bytes
) -> None:
    ResumeFile(str(events), "t", tmp_path / "state").write(17)
    events.write_bytes(changed)
    assert ResumeFile(str(events), "t", tmp_path / "state").read() == 0


@pytest.mark.parametrize(
    "damaged",
    [
        *(b"", b"{", b"null", b"[]", b"5", b"{}", b'{"lines": 1}', b'{"file": "x"}', b"\xff\xfe"),
        *(
            b'{"file": "x", "lines": %s}' % lines
            for lines in (b"-1", b"1.5", b"1e400", b'"1"', b"null")
        ),
        *(b'{"file": 1, "lines": 1}', b"[" * 100_000, bytes(1_000)),
    ],
    ids=lambda data: ascii(data)[:30],
)
def test_a_damaged_resume_file_is_named_and_says_what_to_do(
    events: Path, tmp_path: Path, damaged: bytes
) -> None:
    folder = tmp_path / "state"
    ResumeFile(str(events), "t", folder).write(17)
    stored(folder).write_bytes(damaged)
    with pytest.raises(
        ConfigurationError, match="remove it to start from the first line"
    ) as caught:
        ResumeFile(str(events), "t", folder).read()
    assert str(stored(folder)) in str(caught.value)


def test_a_resume_file_of_an_older_version_is_read(events: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    ResumeFile(str(events), "t", folder).write(1)
    older = json.loads(stored(folder).read_bytes()) | {"lines": 5, "later": "field"}
    stored(folder).write_text(json.dumps(older, indent=1), encoding="utf-8")
    assert ResumeFile(str(events), "t", folder).read() == 5


def test_a_resume_file_that_cannot_be_written_is_a_clear_error(
    events: Path, tmp_path: Path
) -> None:
    resume = ResumeFile(str(events), "t", tmp_path / "state")
    (tmp_path / "state").rmdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        resume.write(3)


def test_a_folder_that_cannot_be_made_is_a_clear_error(events: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ResumeFile(str(events), "t", events / "below a file")
