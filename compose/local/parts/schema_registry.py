"""Apicurio Registry on loopback, which speaks the protocol of Confluent's schema registry; its schemas are in a file.

It runs only where FRESHET_SCHEMA_REGISTRY_PORT names its port: most topics need no registry, and it takes 400 MB.
"""

import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compose.local.machine.files import make_private_folder
from compose.local.machine.ports import accepts_connections, require_free
from compose.local.machine.process import ProcessId
from compose.local.parts.java import java
from compose.local.parts.maven import fetched_once, run_maven
from compose.local.parts.part import Part
from compose.local.parts.pins import REGISTRY_VERSION, require_archive
from corpus.errors import DependencyError, FreshetError
from ingest.decode.registry.schemas import RegistryAccess, SchemaRegistry

MIN_JAVA = 21
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all"
_ARCHIVE = f"apicurio-registry-app-{REGISTRY_VERSION}-all.tar.gz"
_PATH = "/apis/ccompat/v7"
# A small heap, and a fast start rather than the highest throughput.
_JVM = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


@dataclass(kw_only=True)
class SchemaRegistryPart(Part):
    """The registry. It asks for no password: whoever may reach loopback may register schemas.

    Attributes:
        port: of its API.
    """

    port: int
    name: str = "schema-registry"
    ready_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Set the address and the version."""
        self.address = f"http://127.0.0.1:{self.port}{_PATH}"
        self.version = REGISTRY_VERSION

    @property
    def folder(self) -> Path:
        """The folder of its database."""
        return self.home / "schema-registry"

    def install(self) -> None:
        """Find Java, and fetch the program once per user."""
        java(MIN_JAVA)
        _program(self.mark)

    def prepare(self) -> None:
        """Make its folder."""
        make_private_folder(self.folder)
        require_free(self.name, self.port)

    def command(self) -> Sequence[str]:
        """Return the command of the registry."""
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": 0,  # its metrics: any free one
            "quarkus.log.level": "WARN",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{self.folder / 'registry'}",
        }
        options = [f"-D{name}={value}" for name, value in settings.items()]
        program = _program(self.mark) / "quarkus-run.jar"
        return [java(MIN_JAVA), *_JVM, *options, "-jar", str(program)]

    def is_ready(self, process: ProcessId) -> bool:
        """Return whether it tells which kinds of schemas it has."""
        if not accepts_connections(self.port):
            return False
        registry = SchemaRegistry(RegistryAccess(url=self.address))
        try:
            registry.probe()
        except FreshetError:
            return False
        finally:
            registry.close()
        return True


def _program(mark: str) -> Path:
    """The folder of the program, fetched once per user from Maven Central.

    Raises:
        DependencyError: it could not be fetched, or is not the pinned one.
    """
    return fetched_once("apicurio", REGISTRY_VERSION, partial(_fetch, mark))


def _fetch(mark: str, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise DependencyError(
            "the schema registry is fetched by Maven, which is not on PATH: install it, or set "
            "FRESHET_SCHEMA_REGISTRY_URL to an existing registry"
        )
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    goal = (plugin, f"-Dartifact={_ARTIFACT}")
    run_maven(maven, folder, goal, mark=mark, purpose="fetch the schema registry")
    archive = folder / _ARCHIVE
    require_archive(archive)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    archive.unlink()
