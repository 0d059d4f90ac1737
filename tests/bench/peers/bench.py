"""Ingest, unchanged documents again, and an edit of one word in each: Freshet and CocoIndex on the same documents.

Both have a database of one server, an HNSW index from the beginning, and an embedder that costs little, so what is
measured is the pipeline. Freshet stages, prepares, embeds and publishes in one process, without Kafka and Temporal;
CocoIndex reads files. They take turns. CocoIndex is installed into `build/peers`, by uv.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.clean.cleaner import Cleaner
from corpus.database import connect, migrate
from corpus.embed.embedder import Vectors
from corpus.embed.space_indexes import build_missing
from tests.bench import data
from tests.bench.stack import ROOT
from tests.support.fakes import HashEmbedder
from tests.support.pipeline import Pipeline, make_event

DOCUMENTS = int(os.environ.get("FRESHET_BENCH_DOCUMENTS", "300"))
_BATCH = 100  # documents of a batch of Freshet
_HERE = Path(__file__).parent
_ENVIRONMENT = ROOT / "build" / "peers" / "cocoindex"


def run() -> dict[str, Any]:
    """Seconds and embedded texts of each step, of both."""
    texts = _texts()
    edited = {name: _with_another_word(text) for name, text in texts.items()}
    steps = {"ingest": (1, texts), "the same again": (1, texts), "one word edited": (2, edited)}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Postgres(home=home, port=free_port(), fsync=False)
        stack.enter_context(running(server))
        freshet = stack.enter_context(_Freshet(server.url, home / "staging"))
        server.create_database("peer")
        peer = stack.enter_context(_CocoIndex(server.url_of("peer"), home / "peer"))
        results: dict[str, Any] = {}
        for step, (version, documents) in steps.items():
            results[step] = {
                "Freshet": freshet.update(documents, version),
                "CocoIndex": peer.update(documents),
            }
        results["rows"] = {"Freshet": freshet.rows(), "CocoIndex": _peer_rows(server)}
    return {
        "documents": len(texts),
        "characters": sum(map(len, texts.values())),
        "CocoIndex": _version(),
        **results,
    }


def _texts() -> dict[str, str]:
    """Real documents, as plain text."""
    events = data.events("streams/peps.base.jsonl.zst")
    texts = {event["id"]: event["content"] for event in events if event["op"] == "upsert"}
    return dict(list(texts.items())[:DOCUMENTS])


def _with_another_word(text: str) -> str:
    words = text.split(" ")
    words[len(words) // 2] = "edited"
    return " ".join(words)


class _TimedEmbedder(HashEmbedder):
    """Adds one vector per token, which takes longer than the peer's embedder: so its seconds are reported."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def embed_tokens(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        began = time.perf_counter()
        vectors = super().embed_tokens(token_ids)
        self.seconds += time.perf_counter() - began
        return vectors


class _Freshet:
    """All steps of a batch in this process."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> "_Freshet":
        migrate(self._url)
        cleaner = self._stack.enter_context(Cleaner(processes=os.cpu_count() or 1))
        self._pipeline = self._stack.enter_context(
            Pipeline(self._url, self._folder, cleaner=cleaner, embedder=_TimedEmbedder())
        )
        first = make_event("first", 1, "It registers the space.", content_type="text/plain")
        self._pipeline.ingest(first)
        build_missing(self._url)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def update(self, documents: Mapping[str, str], version: int) -> dict[str, float]:
        """Bring these documents in."""
        pipeline = self._pipeline
        events = [
            make_event(name, version, text, content_type="text/plain")
            for name, text in documents.items()
        ]
        embedder = pipeline.embedder
        before = sum(embedder.embedded.values())
        embedding = embedder.seconds
        began = time.perf_counter()
        for first in range(0, len(events), _BATCH):
            pipeline.ingest(*events[first : first + _BATCH])
        seconds = time.perf_counter() - began
        embedded = sum(embedder.embedded.values()) - before
        in_embedder = {"seconds in the embedder": round(embedder.seconds - embedding, 2)}
        return _figures(seconds, embedded, len(events)) | in_embedder

    def rows(self) -> int:
        """Chunks that are visible."""
        return _count(self._url, b"SELECT count(*) FROM freshet.chunk WHERE visible_to IS NULL")


class _CocoIndex:
    """A process with the peer's own environment, and the folder that it watches."""

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder / "documents"
        self._folder.mkdir(parents=True)
        with connect(url) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        python = _environment() / "bin" / "python"
        # It does not report to its authors.
        environment = os.environ | {"COCOINDEX_DISABLE_USAGE_TRACKING": "1"}
        environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [
                str(python),
                str(_HERE / "cocoindex_peer.py"),
                url,
                str(folder / "state"),
                str(self._folder),
            ],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "_CocoIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def update(self, documents: Mapping[str, str]) -> dict[str, float]:
        """Write the files again, then have them brought in."""
        for name, text in documents.items():
            (self._folder / f"{name}.txt").write_text(text, encoding="utf-8")
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError("CocoIndex ended; see above")
        answer = json.loads(line)
        return _figures(answer["seconds"], answer["texts embedded"], len(documents))


def _figures(seconds: float, embedded: int, documents: int) -> dict[str, float]:
    return {
        "seconds": round(seconds, 2),
        "documents per second": round(documents / seconds, 1),
        "texts embedded": embedded,
    }


def _peer_rows(server: Postgres) -> int:
    return _count(server.url_of("peer"), b"SELECT count(*) FROM piece")


def _count(url: str, statement: bytes) -> int:
    with connect(url) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def _environment() -> Path:
    """Made where it is missing; uv keeps what it downloads."""
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(uv).exists():
        raise SystemExit("CocoIndex is installed by uv, which is not here: run `make setup`")
    if not (_ENVIRONMENT / "bin" / "python").exists():
        subprocess.run([uv, "venv", "--quiet", str(_ENVIRONMENT)], check=True)
    requirements = str(_HERE / "requirements.txt")
    python = str(_ENVIRONMENT / "bin" / "python")
    command = [uv, "pip", "install", "--quiet", "--python", python, "--requirement", requirements]
    subprocess.run(command, check=True)
    return _ENVIRONMENT


def _version() -> str:
    lines = (_HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith("cocoindex"))
