"""Where a secret may turn up outside the database: each place as bytes, and the names of those that hold one."""

import io
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToJson
from psycopg_pool import ConnectionPool
from temporalio.client import Client

from corpus.database import Connection
from ingest.kafka import Cluster
from tests.support.commands import CommandLine, commands
from workers.logs import JsonFormatter, PublicFormatter
from workers.roles.corpus_metrics import CorpusMetrics

PREFIX = "canary-7f3a9c"

Place = tuple[str, bytes]


def canary(name: str) -> str:
    """A secret that says where it was put."""
    return f"{PREFIX}-{name}"


@contextmanager
def kept_logs() -> Iterator[dict[str, io.StringIO]]:
    """What a role would write, in either format."""
    texts = {"log as JSON": io.StringIO(), "log as text": io.StringIO()}
    formatters = [
        JsonFormatter(),
        PublicFormatter("%(name)s: %(message)s %(detail)s", defaults={"detail": ""}),
    ]
    root = logging.getLogger()
    level = root.level
    handlers: list[logging.Handler] = []
    for stream, formatter in zip(texts.values(), formatters, strict=True):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        handlers.append(handler)
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield texts
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)


async def in_temporal(client: Client) -> list[Place]:
    """Histories, raw and as JSON, with what describes each workflow: search attributes, memo, failures, heartbeats."""
    places: list[Place] = []
    async for one in client.list_workflows():
        handle = client.get_workflow_handle(one.id, run_id=one.run_id)
        listed = one.raw_info.SerializeToString()
        described = await handle.describe()
        places += [
            (f"list entry of {one.id}", listed),
            (f"description of {one.id}", described.raw_description.SerializeToString()),
        ]
        async for event in handle.fetch_history_events():
            kind = type(event).__name__
            place = f"{kind} {event.event_id} of {one.id}"
            places.append((place, event.SerializeToString()))
            places.append((place, MessageToJson(event).encode()))
    return places


class _Meter:
    """Writes what a scrape would say: names, labels, values."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def create_counter(self, name: str, *_: Any) -> "_Instrument":
        return _Instrument(self, name)

    create_gauge = create_gauge_float = create_histogram_float = create_counter


class _Instrument:
    def __init__(self, meter: _Meter, name: str) -> None:
        self._meter, self._name = meter, name

    def set(self, value: float, attributes: dict[str, str] | None = None) -> None:
        self._meter.lines.append(f"{self._name}{attributes or {}} {value}")

    add = record = set


def in_metrics(pool: ConnectionPool[Connection], cluster: Cluster) -> list[Place]:
    """Metrics of the corpus, as the orchestrator exports them."""
    meter: Any = _Meter()
    CorpusMetrics(pool, cluster, meter).update()
    return [("metrics", "\n".join(meter.lines).encode())]


# Commands that act, follow, or show documents to those who may read them. All others are read.
_LEFT_OUT = frozenset(
    {
        *("apply", "produce", "drain", "top", "erase", "purge", "audit", "audit repair"),
        *("source prepare", "source skip", "document correct", "freshness check"),
        *("dead-letters redrive", "dead-letters discard"),
        *("search", "documents", "lineage", "export", "clean"),
        *("dead-letters list", "dead-letters show"),
    }
)
_ARGUMENTS = {"source show": ["s"], "audit show": ["1"]}


def reading_calls() -> list[list[str]]:
    """Every command that shows how Freshet is, without and with `--json`; a new one is among them."""
    calls: list[list[str]] = []
    for name, command in commands():
        options = {option for parameter in command.params for option in parameter.opts}
        if "--json" in options and name not in _LEFT_OUT:
            call = [*name.split(), *_ARGUMENTS.get(name, [])]
            calls += [call, [*call, "--json"]]
    return calls


def in_commands(command: CommandLine, calls: Iterable[list[str]], **settings: str) -> list[Place]:
    """What commands write, to either stream."""
    places: list[Place] = []
    for call in calls:
        done = command(*call, **settings)
        places.append((f"freshet {' '.join(call)}", (done.stdout + done.stderr).encode()))
    return places


def in_logs_of_servers(home: Path) -> list[Place]:
    """The logs of PostgreSQL, Kafka and Temporal; not the segments of Kafka's topics, where the records are."""
    return [(str(path), path.read_bytes()) for path in home.rglob("logs/*.log")]


def hits(places: Iterable[Place], secrets: Iterable[str] = (PREFIX,)) -> list[str]:
    """Names of the places that hold a secret, as text or as JSON escapes it."""
    forms = {form for secret in secrets for form in (secret, json.dumps(secret)[1:-1])}
    wanted = [form.encode() for form in forms]
    return [name for name, content in places if any(one in content for one in wanted)]
