"""A real schema registry (Apicurio, as the local stack runs it), which a test can stop and start again."""

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from compose.local.machine.ports import free_port
from compose.local.machine.process import ProcessId
from compose.local.parts.schema_registry import SchemaRegistryPart
from tests.support.polling import wait_until

_NO_PROCESS = ProcessId(0, 0.0)


@dataclass
class Apicurio:
    """The registry of a test; its schemas survive a restart."""

    part: SchemaRegistryPart
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        """The address that settings name."""
        return self.part.address

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.part.install()
        self.part.prepare()
        with (self.part.home / "log").open("ab") as log:
            self.process = subprocess.Popen(self.part.command(), stdout=log, stderr=log)
        wait_until(lambda: self.part.is_ready(_NO_PROCESS), 120)

    def end(self) -> None:
        """End it, and let it write: its database writes half a second after it has answered."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def add(
        self,
        subject: str,
        text: str,
        kind: str = "AVRO",
        references: tuple[tuple[str, str, int], ...] = (),
    ) -> int:
        """Register a schema; returns its id. References are names, subjects and versions."""
        named = [SchemaReference(*reference) for reference in references]
        with SchemaRegistryClient({"url": self.url}) as client:
            return client.register_schema(subject, Schema(text, kind, named))


@contextmanager
def apicurio(home: Path) -> Generator[Apicurio]:
    """Run a registry until the block ends."""
    running = Apicurio(SchemaRegistryPart(home=home, port=free_port()))
    running.start()
    try:
        yield running
    finally:
        running.end()
