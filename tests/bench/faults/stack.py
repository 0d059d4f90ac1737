"""A stack whose roles reach PostgreSQL, Kafka and Temporal through proxies only.

The commands of the driver, the reader and the watcher reach the servers directly: `stack.json` names the servers, and
the environment of the roles names the proxies.
"""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

# confluent_kafka.admin exports its classes as its documentation says, but not for type checkers.
# pyright: reportPrivateImportUsage=false
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions

from compose.local.commands import prepare_home
from compose.local.machine.ports import free_port
from compose.local.machine.process import identify, kill_marked, spawn, stop
from compose.local.parts.kafka import Kafka
from compose.local.parts.part import ExistingServer, Part
from compose.local.parts.role import Role
from compose.local.stack import SERVICES
from compose.local.state import add_request
from compose.local.supervisor import Supervisor
from tests.bench.faults.proxy import Proxies, Proxy
from tests.bench.faults.schedule import ROLES, SERVERS
from tests.bench.stack import Stack
from tests.support.kafka_listeners import with_listener
from tests.support.polling import wait_until

_START_SECONDS = 300.0
_END_SECONDS = 120.0
_REPLACEMENT_GRACE_SECONDS = 20.0
_REPLACEMENT_PAUSE_SECONDS = 1.0
_ADMIN_SECONDS = 10.0


@dataclass(kw_only=True)
class ProxiedKafka(Kafka):
    """The broker, with one more listener, whose clients are sent to the proxy for everything that follows."""

    faulty_port: int
    proxy_port: int

    def _settings(self) -> dict[str, object]:
        return with_listener(
            super()._settings(),
            "FAULTY",
            "PLAINTEXT",
            self.faulty_port,
            advertised=self.proxy_port,
        )


@dataclass(kw_only=True)
class ProxiedRole(Role):
    """A role, or a second process of it, that knows the proxies' addresses only.

    Attributes:
        proxied: variables that name the proxies.
        fake_embedder: whether the role embedder runs without a model.
    """

    proxied: dict[str, str] = field(default_factory=dict[str, str])
    fake_embedder: bool = False

    def command(self) -> Sequence[str]:
        if self.role == "embedder" and self.fake_embedder:
            return [sys.executable, "-m", "tests.support.light_embedder"]
        return super().command()

    def environment(self) -> dict[str, str]:
        return super().environment() | self.proxied


class ProxiedStack(Stack):
    """Use it in a `with` statement.

    Attributes:
        proxies: by the name of the server behind each.
        topic: that grows.
    """

    def __init__(
        self,
        seed: int,
        *,
        topic: str,
        fake_embedder: bool = False,
        keep: bool = False,
        **environment: str,
    ) -> None:
        super().__init__(keep=keep, **environment)
        self.topic = topic
        self._fake_embedder = fake_embedder
        self._opened = ExitStack()
        prepare_home(self.home, {})
        self._supervisor = Supervisor(self.home)
        self._require_own_servers()
        ports = {name: part.port for name, part in self._servers().items()}
        taken = set(ports.values())
        listening = {name: free_port(taken) for name in SERVERS}
        faulty_kafka = free_port(taken | set(listening.values()))
        self.proxies = Proxies(
            {
                name: Proxy(
                    listening[name],
                    faulty_kafka if name == "kafka" else ports[name],
                    random.Random(f"{seed} {name}"),
                )
                for name in SERVERS
            }
        )
        self._replace_parts(ports, listening, faulty_kafka)

    def _require_own_servers(self) -> None:
        """Faults are for servers of our own."""
        for name, part in self._servers().items():
            if isinstance(part, ExistingServer):
                raise SystemExit(f"{name} is a server of others, by the environment: unset that")

    def _servers(self) -> dict[str, "Part"]:
        return {name: self._supervisor.parts[name] for name in SERVERS}

    def _replace_parts(
        self, ports: dict[str, int], listening: dict[str, int], faulty_kafka: int
    ) -> None:
        parts = self._supervisor.parts
        broker = parts["kafka"]
        assert isinstance(broker, Kafka)
        parts["kafka"] = ProxiedKafka(
            home=self.home,
            port=broker.port,
            controller_port=broker.controller_port,
            asks_password=True,
            faulty_port=faulty_kafka,
            proxy_port=listening["kafka"],
        )
        database_url = parts["postgres"].url
        self._proxied = {
            "FRESHET_DATABASE_URL": database_url.replace(
                f":{ports['postgres']}/", f":{listening['postgres']}/"
            ),
            "FRESHET_KAFKA_BOOTSTRAP": f"127.0.0.1:{listening['kafka']}",
            "TEMPORAL_ADDRESS": f"127.0.0.1:{listening['temporal']}",
        }
        for name in ROLES:
            parts[name] = self._role(name, name, parts[name].after)

    def _role(self, role: str, name: str, after: Sequence[str] = ()) -> ProxiedRole:
        return ProxiedRole(
            home=self.home,
            name=name,
            role=role,
            after=tuple(after),
            proxied=self._proxied | {"HF_HUB_OFFLINE": "1"},
            fake_embedder=self._fake_embedder,
        )

    def __enter__(self) -> "ProxiedStack":
        self._opened.enter_context(self.proxies)
        add_request(self.home, (*SERVICES, *ROLES), fresh=True)
        supervising = threading.Thread(target=self._supervisor.run, name="supervisor", daemon=True)
        supervising.start()
        self._opened.callback(supervising.join, _END_SECONDS)
        self._opened.callback(self._supervisor.stop)
        try:
            wait_until(lambda: self.ready(*SERVICES, *ROLES), _START_SECONDS, "the stack is ready")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()
        super().__exit__(kind, error, traceback)

    def ready(self, *parts: str) -> bool:
        """Whether these parts serve, by the supervisor."""
        statuses = self._supervisor.board.statuses
        return all(part in statuses and statuses[part].usable for part in parts)

    def restarts(self) -> dict[str, int]:
        """How often the supervisor has started each part again."""
        statuses = self._supervisor.board.statuses
        return {name: statuses[name].restarts for name in (*SERVERS, *ROLES)}

    def ask_to_end(self, part: str) -> bool:
        """Send a part the signal that ends it gracefully; the supervisor then starts it again."""
        pid = self.pid(part)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, self._supervisor.parts[part].stop_signal)
            return True
        return False

    def add_partition(self, timeout: float) -> None:
        """Give the topic one more partition; the broker may be away meanwhile."""
        admin: Any = AdminClient(self.kafka_client())

        def is_added() -> bool:
            try:
                topics = admin.list_topics(self.topic, timeout=_ADMIN_SECONDS).topics
                count = len(topics[self.topic].partitions) + 1
                grown = admin.create_partitions([NewPartitions(self.topic, count)])
                grown[self.topic].result(_ADMIN_SECONDS)
            except KafkaException:
                return False
            return True

        wait_until(is_added, timeout, f"{self.topic} has one more partition")

    def replacement(self, role: str, number: int) -> "Replacement":
        """A second process of a role."""
        return Replacement(self._role(role, f"{role}-replacement-{number}"))


class Replacement:
    """A process of a role beside the one that the supervisor looks after; started again while it ends by itself."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=part.name, daemon=True)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def ready(self) -> bool:
        """Whether it works."""
        child = self._child
        return child is not None and self._part.is_ready(identify(child))

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def stop(self) -> None:
        """SIGTERM; returns when it has ended."""
        self._leaving.set()
        self._thread.join()

    def _run(self) -> None:
        part = self._part
        while not self._leaving.is_set():
            part.prepare()
            child = spawn(
                part.command(),
                mark=part.mark,
                environment=part.environment(),
                log=part.log,
                cwd=part.home,
                inherits=part.inherits,
            )
            self._child = child
            while child.poll() is None and not self._leaving.wait(0.1):
                pass
            if child.poll() is None:
                stop(
                    {identify(child): part.stop_signal},
                    grace=_REPLACEMENT_GRACE_SECONDS,
                )
            child.wait()
            kill_marked(part.mark)
            self._leaving.wait(_REPLACEMENT_PAUSE_SECONDS)
