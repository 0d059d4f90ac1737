"""The `temporal` program: found on the machine, built by Go from its pinned source, or downloaded by Temporal's SDK.

The build is verified as a whole: the sum of the source is known here, and the source holds the sums of all that it is
built of. The download is of one version and over TLS; its publisher names no digest that could be pinned.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from compose.local.machine.files import cache_home, locked
from compose.local.machine.process import run_tool, variables
from compose.local.parts.pins import (
    TEMPORAL_MODULE,
    TEMPORAL_VERSION,
    require_temporal,
)
from corpus.errors import DependencyError

CLI_VERSION = TEMPORAL_VERSION
_DOWNLOAD_SECONDS = 60
# Go's own, and the way to its registry.
_BUILDING = variables(
    "(?i:(http|https|all|no)_proxy)", "C?GO[A-Z0-9_]+", "CC|CXX", "GIT_[A-Z_]+"
)
_USUAL_GO = Path("/usr/local/go/bin/go")


def temporal_binary(mark: str = "") -> Path:
    """Return the program: on PATH, where `go install` puts it, in the cache, else fetched into the cache.

    Raises:
        DependencyError: the machine does not have it, and it cannot be fetched.
    """
    return installed_binary() or _fetch(mark)


def installed_binary() -> Path | None:
    """Return the program if the machine has it."""
    for program in _candidates():
        if os.access(program, os.X_OK):
            return program
    return None


def _candidates() -> Iterator[Path]:
    """Where the program may be, the preferred place first."""
    on_path = shutil.which("temporal")
    if on_path:
        yield Path(on_path)
    go_folder = os.environ.get("GOBIN")
    if go_folder:
        yield Path(go_folder, "temporal")
    go_path = os.environ.get("GOPATH")
    if go_path:
        yield Path(go_path, "bin", "temporal")
    home = Path.home()
    yield home / "go" / "bin" / "temporal"
    yield _cached_binary()


def _cached_binary() -> Path:
    return cache_home() / f"temporal-cli-{CLI_VERSION}" / "temporal"


def _fetch(mark: str) -> Path:
    target = _cached_binary()
    with locked(cache_home() / "temporal.lock"):
        if target.exists():
            return target
        folder = target.parent
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            program = _download_or_build(new, mark)
            expected = new / "temporal"
            if program != expected:
                program.replace(expected)
            new.replace(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target


def _download_or_build(folder: Path, mark: str) -> Path:
    go = _go()
    if go is not None:
        return _build(go, folder, mark)
    try:
        return asyncio.run(_download(folder))
    except Exception as error:  # the SDK's downloader raises errors of many kinds
        raise DependencyError(
            f"no `temporal` program: there is no Go to build it, and its download failed ({error}); "
            "put `temporal` on PATH (https://docs.temporal.io/cli), or set TEMPORAL_ADDRESS to an existing server"
        ) from error


def _go() -> str | None:
    found = shutil.which("go")
    if found is None and _USUAL_GO.exists():
        return str(_USUAL_GO)
    return found


def _build(go: str, folder: Path, mark: str) -> Path:
    """Fetch the source, require that it is the pinned one, and build it with exactly what its go.sum names."""
    fetched = run_tool(
        [go, "mod", "download", "-json", f"{TEMPORAL_MODULE}@{TEMPORAL_VERSION}"],
        mark=mark,
        purpose="fetch the source of the Temporal server",
        timeout=300,
        inherits=_BUILDING,
        cwd=folder,
    )
    source = json.loads(fetched)
    require_temporal(source["Sum"])
    program = folder / "temporal"
    run_tool(
        [go, "build", "-o", str(program), "./cmd/temporal"],
        mark=mark,
        purpose="build the Temporal server (some minutes)",
        timeout=1800,
        environment={"GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        inherits=_BUILDING,
        cwd=Path(source["Dir"]),
    )
    return program


async def _download(folder: Path) -> Path:
    from temporalio.testing import WorkflowEnvironment

    # The SDK downloads the program before it starts a server with it. That server is ended at once.
    # The type of one of its parameters is open, hence the ignores.
    start_local = WorkflowEnvironment.start_local  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    async with asyncio.timeout(_DOWNLOAD_SECONDS):
        environment = await start_local(
            download_dest_dir=str(folder),
            dev_server_download_version=CLI_VERSION,
            ip="127.0.0.1",
        )
    await environment.shutdown()
    return _program_in(folder)


def _program_in(folder: Path) -> Path:
    for path in folder.glob("temporal*"):
        is_program = os.access(path, os.X_OK)
        if is_program:
            return path
    raise DependencyError(f"the download left no `temporal` program in {folder}")
