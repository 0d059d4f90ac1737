"""Real services for tests: each is started once per session by the code that starts the local stack.

A service that cannot be started fails the tests that need it; nothing is skipped.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest_plugins = [
    "tests.support.fix_postgres",
    "tests.support.fix_kafka",
    "tests.support.fix_temporal",
    "tests.support.fix_pipeline",
    "tests.support.fix_team",
    "tests.support.fix_fleet",
    "tests.support.fix_spans",
    "tests.support.fix_installation",
    "tests.support.guarded_kafka",
]

_PREFIX = "freshet-tests-"


def pytest_configure(config: pytest.Config) -> None:
    # Tests must not meet the developer's own stack.
    for name in [*os.environ]:
        # FRESHET_DATA names the folder of test data, no server.
        if name.startswith(("FRESHET_", "OTEL_", "PG", "TEMPORAL_")) and name != "FRESHET_DATA":
            del os.environ[name]
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def pytest_report_header(config: pytest.Config) -> list[str]:
    from compose.local.machine.process import run_tool
    from compose.local.parts.java import KAFKA_VERSION, java, java_version
    from compose.local.parts.postgres_programs import binaries
    from compose.local.parts.temporal_program import installed_binary
    from corpus.errors import FreshetError

    def version_of(program: Path) -> str:
        command = [str(program), "--version"]
        return run_tool(command, mark="", purpose="version", timeout=30).strip()

    lines: list[str] = []
    try:
        lines.append(f"postgres: {version_of(binaries() / 'postgres')}")
        lines.append(f"kafka: {KAFKA_VERSION} on Java {java_version(java())}")
        temporal = installed_binary()
        lines.append(f"temporal: {version_of(temporal) if temporal else 'to be fetched'}")
    except FreshetError as error:
        lines.append(f"a service is missing: {error}")
    return lines


@pytest.fixture(scope="session")
def service_home() -> Iterator[Path]:
    """State directory of this session's servers; what a killed session left is removed first."""
    _end_leftovers()
    home = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


def _end_leftovers() -> None:
    from compose.local.machine.process import MARK

    pattern = re.compile(rf"{re.escape(tempfile.gettempdir())}/{_PREFIX}(\d+)-")
    for process in psutil.process_iter():
        try:
            found = pattern.match(process.environ().get(MARK, ""))
            if found and not psutil.pid_exists(int(found.group(1))):
                process.kill()
        except (psutil.Error, OSError):
            continue
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    # Temporal's client library may crash while the interpreter shuts down (temporalio/sdk-python#300), which would turn
    # a green run red: leave before that.
    status = config.stash.get(_STATUS, None)
    if status is not None and "temporalio.bridge" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


_STATUS = pytest.StashKey[int]()
