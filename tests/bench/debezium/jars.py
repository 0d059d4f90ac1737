"""Debezium's connector for PostgreSQL and Kafka Connect, fetched once per user by Maven; each jar is pinned."""

import os
import shutil
from pathlib import Path

from compose.local.machine.files import cache_home, locked
from compose.local.machine.process import run_tool, variables
from compose.local.parts.pins import require_jars
from corpus.errors import DependencyError

DEBEZIUM_VERSION = "3.6.1.Final"
# The embedded engine brings Kafka Connect's own runtime along.
_JARS = (
    f"io.debezium:debezium-api:{DEBEZIUM_VERSION}",
    f"io.debezium:debezium-embedded:{DEBEZIUM_VERSION}",
    f"io.debezium:debezium-connector-postgres:{DEBEZIUM_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",
)
_PINS = Path(__file__).with_name("jars.sha256")
_FETCHING = variables("(?i:(http|https|all|no)_proxy)", "(MAVEN|M2|JAVA|JDK)_[A-Z_]+")
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshet</groupId>
  <artifactId>debezium</artifactId>
  <version>1</version>
  <dependencies>{dependencies}</dependencies>
</project>
"""
_FETCH_SECONDS = 900


def jars() -> Path:
    """The folder of the jars.

    Raises:
        DependencyError: there is no Maven, it cannot fetch them, or they are not the pinned ones.
    """
    folder = cache_home() / f"debezium-{DEBEZIUM_VERSION}"
    with locked(cache_home() / "debezium.lock"):
        if not folder.exists():
            _fetch(folder)
    pairs = (line.split() for line in _PINS.read_text(encoding="ascii").splitlines())
    require_jars(folder, {name: digest for digest, name in pairs})
    return folder


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise DependencyError("Debezium's jars are fetched by Maven, and there is no mvn on PATH")
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    pom = new / "pom.xml"
    pom.write_text(_POM.format(dependencies="".join(map(_dependency, _JARS))), encoding="utf-8")
    command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={new}", "-DincludeScope=runtime"]
    try:
        run_tool(
            command,
            mark="",
            purpose="fetch Debezium's jars",
            timeout=_FETCH_SECONDS,
            inherits=_FETCHING,
        )
        pom.unlink()
        new.replace(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _dependency(jar: str) -> str:
    group, artifact, version = jar.split(":")
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
    )
