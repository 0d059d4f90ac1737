"""`freshet import` whose process is killed (SIGKILL): the next one continues, and nothing is lost or there twice."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.source import SourceSpec
from tests.support.commands import ROOT
from tests.support.fleet import Fleet

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]
# The command, which stands still before the record of this number: `MADE` records are handed to the Kafka client.
STANDS_STILL = """
import sys, time
from ingest.imports.importer import Importer
from workers.cli.main import run

limit, made = int(sys.argv[1]), 0


def counted(method):
    def call(*arguments):
        global made
        if made == limit:
            print("stands still", flush=True)
            time.sleep(600)
        made += 1
        return method(*arguments)
    return call


Importer._upsert = counted(Importer._upsert)
Importer._delete = counted(Importer._delete)
sys.exit(run(sys.argv[2:]))
"""
NEVER = 1_000_000
FILES = 120


class Imports:
    """Runs the command in processes of its own."""

    def __init__(self, live: Fleet, root: Path) -> None:
        self.root = root
        self._settings = {
            "PYTHONPATH": str(ROOT),
            "FRESHET_HOME": str(root.parent / "home"),
            "FRESHET_DATABASE_URL": live.database_url,
            "FRESHET_KAFKA_BOOTSTRAP": live.bootstrap,
            "TEMPORAL_ADDRESS": "127.0.0.1:1",  # is not asked
        }

    def _start(self, records: int, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", STANDS_STILL, str(records), "import", str(self.root)]
        return subprocess.Popen(
            [*command, "--source", "files", "--json", *words],
            env=self._settings,
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    async def killed_after(self, records: int, *words: str) -> None:
        """Kill it when it has made so many records."""
        with self._start(records, *words) as process:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            process.kill()
        assert line == "stands still\n"
        assert process.returncode == -9

    async def finished(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Let it end; its exit code and its answer."""
        with self._start(NEVER, *words) as process:
            answer, _ = await asyncio.to_thread(process.communicate, timeout=120)
        return process.returncode, json.loads(answer)


def write(root: Path, numbers: range) -> None:
    root.mkdir(exist_ok=True)
    for number in numbers:
        (root / f"{number:03}.md").write_text(f"Text number {number}.", encoding="utf-8")


@pytest.fixture
def imports(live: Fleet, tmp_path: Path, make_topic: Callable[..., str]) -> Imports:
    live.add_source(SourceSpec(source="files", topics=(make_topic(),)))
    return Imports(live, tmp_path / "docs")


async def test_a_killed_import_ends_with_exactly_the_files(live: Fleet, imports: Imports) -> None:
    write(imports.root, range(FILES))
    await imports.killed_after(30)
    await imports.killed_after(50)
    code, _ = await imports.finished()
    assert code == 0
    await live.drained("files", timeout=120)
    code, row = await imports.finished()
    assert (code, row["new"], row["unchanged"]) == (0, 0, FILES)
    assert set(live.visible("files")) == {f"{number:03}.md" for number in range(FILES)}
    # Nothing is there twice: one version of each document, one embedding of each text, no dead letter.
    [counts] = live.rows(
        """SELECT (SELECT count(*) FROM freshet.document) AS versions,
                  (SELECT count(*) FROM freshet.chunk) AS chunks,
                  (SELECT count(*) FROM freshet.dead_letter) AS letters,
                  (SELECT sum(applied)::bigint FROM freshet.batch) AS applied,
                  (SELECT sum(records - applied - unchanged)::bigint FROM freshet.batch) AS others"""
    )
    assert tuple(counts) == (FILES, FILES, 0, FILES, 0)
    assert live.embedder.embedded.total() == FILES


async def test_deletes_of_a_killed_import_are_finished_within_the_ratio(
    live: Fleet, imports: Imports
) -> None:
    write(imports.root, range(40))
    await imports.finished()
    await live.drained("files")
    for number in range(12):
        (imports.root / f"{number:03}.md").unlink()
    write(imports.root, range(40, 45))
    # Five new files and three of the twelve deletes.
    await imports.killed_after(8, "--delete-missing")
    code, row = await imports.finished("--delete-missing")
    assert (code, row["deleted"] <= 12) == (0, True)
    await live.drained("files")
    assert set(live.visible("files")) == {f"{number:03}.md" for number in range(12, 45)}
    code, row = await imports.finished("--delete-missing")
    assert (code, row["missing"], row["deleted"], row["unchanged"]) == (0, [], 0, 33)
    # More than the ratio: nothing is deleted, whatever a killed one has begun.
    for number in range(12, 32):
        (imports.root / f"{number:03}.md").unlink()
    code, row = await imports.finished("--delete-missing")
    assert (code, row["deleted"], len(row["missing"])) == (1, 0, 20)
    assert "max_expiry_ratio" in row["keeps_missing"]
    assert len(live.visible("files")) == 33
