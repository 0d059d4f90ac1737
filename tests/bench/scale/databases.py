"""The databases that are measured: one per tree, loaded anew or copied from one that an earlier run kept."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.database import connect
from tests.bench.scale.load import load
from tests.bench.scale.made import Made
from tests.bench.scale.revision import Revision, Tree

_BYTES_PER_CHUNK = 3_000  # of shared buffers; the indexes of a million chunks are about as large
_MIN_BUFFERS = 256_000_000


@dataclass(frozen=True, slots=True)
class Databases:
    """What was loaded."""

    revisions: list[Revision] = field(default_factory=list)
    seconds: dict[str, Any] = field(default_factory=dict)  # of each step of loading, by revision


@contextmanager
def loaded(places: list[Tree], made: Made, keep: Path | None) -> Iterator[Databases]:
    """A database of one server for each tree.

    Args:
        places: the trees.
        made: what the databases hold.
        keep: where the server and its loaded databases stay; None: nothing stays.
    """
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        buffers = max(_MIN_BUFFERS, made.chunks * _BYTES_PER_CHUNK) // 1_000_000
        settings = {"shared_buffers": f"{buffers}MB"}
        server = Postgres(home=folder, port=free_port(), fsync=False, settings=settings)
        stack.enter_context(running(server))
        databases = Databases()
        for place in places:
            kept = _Kept(server, folder, place, made)
            databases.seconds[place.name] = kept.seconds()
            url = kept.copy() if keep else kept.url
            databases.revisions.append(stack.enter_context(Revision(place.name, place.folder, url)))
        yield databases


class _Kept:
    """A database that is only loaded; a run with `keep` measures a copy, since it changes what it measures."""

    def __init__(self, server: Postgres, folder: Path, place: Tree, made: Made) -> None:
        self._server = server
        self._place = place
        self._made = made
        self._name = f"{place.name}_loaded"
        self._marker = folder / f"{self._name}.json"
        self._corpus = {"chunks": made.chunks, "seed": made.seed}
        self.url = server.url_of(self._name)

    def seconds(self) -> dict[str, Any]:
        """Load it unless it is; returns the seconds of each step of when it was."""
        if (known := self._known()) is not None:
            return known
        self._marker.unlink(missing_ok=True)
        self._server.drop_database(self._name)
        self._server.create_database(self._name)
        with Revision(self._place.name, self._place.folder, self.url) as revision:
            seconds = load(revision, self._made)
        record = {"corpus": self._corpus, "commit": self._place.commit, "seconds": seconds}
        self._marker.write_text(json.dumps(record), encoding="utf-8")
        return seconds

    def _known(self) -> dict[str, Any] | None:
        if not self._marker.exists():
            return None
        record = json.loads(self._marker.read_text(encoding="utf-8"))
        if record["corpus"] != self._corpus:
            return None
        return {**record["seconds"], "loaded by": record["commit"]}

    def copy(self) -> str:
        """A copy of it; returns the connection string. Later migrations are applied by the driver."""
        self._server.drop_database(self._place.name)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(self._place.name), sql.Identifier(self._name)
        )
        with connect(self._server.url_of("postgres")) as connection:
            connection.execute(statement)
        return self._server.url_of(self._place.name)
