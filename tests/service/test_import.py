"""`freshet import`: a folder becomes documents, and nothing is sent that the corpus has as it is."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec
from ingest.imports.importer import Importer, media_type
from tests.support.commands import CommandLine, Done
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet, fleet
from tests.support.pipeline import make_event

pytestmark = pytest.mark.service
Run = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
async def live(
    temporal_env: TemporalEnv, database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    client = await temporal_env.client()
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as running:
        yield running


@pytest.fixture
def run(
    live: Fleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_topic: Callable[..., str],
) -> Run:
    """Runs the command with --json, and waits until the corpus has what it sent."""
    freshet = CommandLine(tmp_path, monkeypatch, capsys)
    live.add_source(SourceSpec(source="files", topics=(make_topic(),)))

    async def run(*words: str, drained: bool = True) -> tuple[int, dict[str, Any]]:
        def command() -> Done:
            return freshet(
                *("import", *words, "--source", "files", "--json"),
                FRESHET_DATABASE_URL=live.database_url,
                FRESHET_KAFKA_BOOTSTRAP=live.bootstrap,
                TEMPORAL_ADDRESS="127.0.0.1:1",  # is not asked
            )

        done = await asyncio.to_thread(command)
        assert done.stdout, done.stderr
        if drained:
            await live.drained()
        return done.code, json.loads(done.stdout)

    return run


def texts(live: Fleet) -> dict[str, str]:
    """Document id -> text of its chunks."""
    rows = live.rows(
        """SELECT document_id, string_agg(text, ' ') AS text FROM freshet.chunk
           WHERE visible_to IS NULL GROUP BY document_id"""
    )
    return {row.document_id: row.text for row in rows}


def write(root: Path, path: str, text: str | bytes, *, seconds: int | None = None) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    if seconds is not None:
        os.utime(file, (seconds, seconds))


@pytest.mark.timeout(120)
async def test_a_folder_is_imported_again_and_again(run: Run, live: Fleet, tmp_path: Path) -> None:
    root = tmp_path / "docs"
    write(root, "a/one.md", "# One\n\nThe first text.", seconds=1_700_000_000)
    write(root, "two.txt", "Grüße aus Köln, heute.".encode("latin-1"), seconds=1_700_000_000)
    write(root, "three.html", "<p>The third text.</p>", seconds=1_700_000_000)
    code, row = await run(str(root), "--dry-run")
    assert (code, row["new"], row["to_send"]) == (0, 3, ["a/one.md", "three.html", "two.txt"])
    assert live.visible("files") == {}
    code, row = await run(str(root))
    assert (code, row["new"], row["unchanged"]) == (0, 3, 0)
    assert live.visible("files") == dict.fromkeys(
        ["a/one.md", "two.txt", "three.html"], 1_700_000_000_000_000
    )
    embedded = sum(live.embedder.embedded.values())
    # Nothing is sent again; a file that was only touched is read, and not sent.
    os.utime(root / "two.txt")
    code, row = await run(str(root))
    assert (code, row["new"], row["changed"], row["unchanged"]) == (0, 0, 0, 3)
    # Changed, with the time as it was (a restored one), and with one in the future.
    write(root, "a/one.md", "# One\n\nAnother, much newer text.", seconds=1_600_000_000)
    write(root, "three.html", "<p>The third text, later.</p>", seconds=4_000_000_000)
    code, row = await run(str(root))
    assert (code, row["changed"], row["went_back"], row["in_future"]) == (0, 2, 1, 1)
    assert "much newer" in texts(live)["a/one.md"]
    assert "later" in texts(live)["three.html"]
    assert sum(live.embedder.embedded.values()) == embedded + 2
    # Same size and same time: only --checksum sees it.
    write(root, "a/one.md", "# One\n\nAnother, much older text.", seconds=1_600_000_000)
    code, row = await run(str(root))
    assert row["changed"] == 0
    code, row = await run(str(root), "--checksum")
    assert (row["changed"], row["unchanged"]) == (1, 2)
    assert "much older" in texts(live)["a/one.md"]


@pytest.mark.timeout(120)
async def test_only_missing_files_of_the_root_are_deleted(
    run: Run, live: Fleet, tmp_path: Path
) -> None:
    root, other = tmp_path / "docs", tmp_path / "other"
    for number in range(6):
        write(root, f"{number}.md", f"Text number {number} of the root.")
    write(other, "o.md", "Text of another root.")
    topic = live.rows("SELECT spec -> 'topics' ->> 0 AS topic FROM freshet.source")[0].topic
    live.produce(topic, [make_event("by-hand", 1, "No import brought this.")])
    await run(str(root))
    await run(str(other))
    (root / "0.md").unlink()
    code, row = await run(str(root))
    assert (code, row["missing"], row["deleted"]) == (0, ["0.md"], 0)
    assert "0.md" in live.visible("files")
    code, row = await run(str(root), "--delete-missing")
    assert (code, row["deleted"]) == (0, 1)
    everything = {"by-hand", "o.md", *(f"{number}.md" for number in range(1, 6))}
    assert set(live.visible("files")) == everything
    # Above the ratio of the source, an empty listing, a part that cannot be read: nothing is deleted.
    away = tmp_path / "away"
    away.mkdir()
    for number in range(1, 5):
        shutil.move(root / f"{number}.md", away)
    code, row = await run(str(root), "--delete-missing")
    assert (code, row["deleted"]) == (1, 0)
    assert "max_expiry_ratio" in row["keeps_missing"]
    shutil.move(root / "5.md", away)
    code, row = await run(str(root), "--delete-missing")
    assert (code, row["deleted"]) == (1, 0)
    assert "empty" in row["keeps_missing"]
    for number in range(1, 5):
        shutil.move(away / f"{number}.md", root)
    (root / "dangling.md").symlink_to(root / "nothing")
    code, row = await run(str(root), "--delete-missing")
    assert (code, row["deleted"], row["missing"]) == (1, 0, ["5.md"])
    assert "not whole" in row["keeps_missing"]
    (root / "dangling.md").unlink()
    # A glob takes what it covers.
    code, row = await run(f"{root}/[1-4].md", "--delete-missing")
    assert (code, row["missing"]) == (0, [])
    assert set(live.visible("files")) == everything
    # A file that comes back with its old time is there again.
    shutil.move(away / "5.md", root)
    (root / "1.md").unlink()
    await run(str(root), "--delete-missing")
    assert set(live.visible("files")) == everything - {"1.md"}
    write(root, "1.md", "Text number 1 of the root.", seconds=1_500_000_000)
    await run(str(root))
    assert set(live.visible("files")) == everything


@pytest.mark.timeout(120)
async def test_what_is_left_out_is_named(run: Run, live: Fleet, tmp_path: Path) -> None:
    root, other = tmp_path / "docs", tmp_path / "other"
    write(root, "same.md", "The text of the first root.")
    write(root, "large.md", "x" * 5_000)
    write(root, "picture.pdf", b"%PDF-1.7 broken")
    write(other, "same.md", "The text of the second root.")
    code, row = await run(str(root), "--max-bytes", "4000")
    assert (code, row["new"]) == (1, 2)
    assert "5,000 bytes are more than the 4,000" in row["left_out"]["large.md"]
    # It became a dead letter; as it is, it is not sent again.
    code, row = await run(str(root))
    assert (code, row["refused"], row["new"]) == (1, ["picture.pdf"], 1)
    write(root, "picture.pdf", b"%PDF-1.7 broken otherwise")
    code, row = await run(str(root))
    assert (row["refused"], row["new"]) == ([], 1)
    # An id belongs to one root.
    code, row = await run(str(other))
    assert (code, row["new"]) == (1, 0)
    assert "give a --prefix, or the --name" in row["left_out"]["same.md"]
    assert "first root" in texts(live)["same.md"]
    code, row = await run(str(other), "--prefix", "other/")
    assert (code, row["new"]) == (0, 1)
    # A root that moves keeps its name.
    await run(str(other), "--prefix", "named/", "--name", "handbook")
    moved = tmp_path / "moved"
    shutil.move(other, moved)
    code, row = await run(str(moved), "--prefix", "named/", "--name", "handbook")
    assert (code, row["unchanged"], row["missing"]) == (0, 1, [])


@pytest.mark.timeout(120)
async def test_an_import_that_is_killed_is_run_again(
    run: Run, live: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "docs"
    for number in range(40):
        write(root, f"{number:02}.md", f"Text number {number}.")
    original, made = Importer._upsert, 0

    def dies(self: Importer, *arguments: Any) -> Any:
        nonlocal made
        made += 1
        if made > 25:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Importer, "_upsert", dies)
    with pytest.raises(AssertionError):
        await run(str(root))
    monkeypatch.setattr(Importer, "_upsert", original)
    # The second run may meet a corpus that has not applied the first one's events yet.
    code, _ = await run(str(root))
    assert code == 0
    code, row = await run(str(root))
    assert (code, row["unchanged"]) == (0, 40)
    assert len(live.visible("files")) == 40
    assert max(live.embedder.embedded.values()) == 1


def test_media_types_are_by_name() -> None:
    assert media_type("a/b.MD") == "text/markdown"
    assert media_type("a.pdf") == "application/pdf"
    assert media_type("a.py") == "text/x-python"
    assert media_type("a.csv.gz") is None
    assert media_type("Makefile") is None
