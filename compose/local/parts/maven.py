"""What Maven fetches from Maven Central, once per user."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from compose.local.machine.files import cache_home, locked
from compose.local.machine.process import run_tool, variables

_SECONDS = 600
# Maven's own, and the way to its registry.
_INHERITED = variables("(?i:(http|https|all|no)_proxy)", "(MAVEN|M2|JAVA|JDK)_[A-Z_]+")
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshet</groupId>
  <artifactId>fetched</artifactId>
  <version>1</version>
  <dependencies>{dependencies}</dependencies>
</project>
"""


def fetched_once(name: str, version: str, fetch: Callable[[Path], None]) -> Path:
    """Return the folder of a program, fetched unless it is there.

    Args:
        name: of the program.
        version: of it.
        fetch: fills an empty folder, which takes the program's place once this returns.

    Raises:
        Exception: that of `fetch`; nothing is left then.
    """
    folder = cache_home() / f"{name}-{version}"
    if folder.exists():
        return folder
    with locked(cache_home() / f"{name}.lock"):
        if folder.exists():
            return folder
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            fetch(new)
            new.replace(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return folder


def copy_jars(
    maven: str, folder: Path, jars: Sequence[str], *, mark: str, purpose: str
) -> None:
    """Copy some jars (`group:artifact:version`) and all that they need.

    Raises:
        DependencyError: they could not be fetched.
    """
    pom = folder / "pom.xml"
    dependencies = "".join(map(_dependency, jars))
    pom.write_text(_POM.format(dependencies=dependencies), encoding="utf-8")
    goal = ("-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime")
    run_maven(maven, folder, goal, mark=mark, purpose=purpose)
    pom.unlink()


def run_maven(
    maven: str, folder: Path, goal: Sequence[str], *, mark: str, purpose: str
) -> None:
    """Have Maven write into a folder.

    Args:
        maven: the program.
        folder: that it writes into.
        goal: what it does, with its options.
        mark: of the stack that runs it; empty: none.
        purpose: for the message of an error.

    Raises:
        DependencyError: it failed, or took longer than ten minutes.
    """
    command = [maven, "-q", "-B", *goal, f"-DoutputDirectory={folder}"]
    run_tool(command, mark=mark, purpose=purpose, timeout=_SECONDS, inherits=_INHERITED)


def _dependency(jar: str) -> str:
    group, artifact, version = jar.split(":")
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
    )
