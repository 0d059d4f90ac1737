"""A broker that asks who a client is, and lets users do what an ACL allows."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from compose.local.machine.ports import free_port
from compose.local.parts.kafka import Kafka
from compose.local.run import running

VISITOR = "visitor"
_SECRET = "a-visitor-of-the-test"


@dataclass(kw_only=True)
class AuthorizedKafka(Kafka):
    """The broker with the authorizer that Kafka brings, and one user more; its own user may do everything."""

    asks_password: bool = True

    def _security(self) -> dict[str, object]:
        settings = super()._security()
        login = "listener.name.clients.plain.sasl.jaas.config"
        users = str(settings[login]).removesuffix(";")
        owner = self.login()["sasl.username"]
        return settings | {
            login: f'{users} user_{VISITOR}="{_SECRET}";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{owner}",
        }


@dataclass(frozen=True, slots=True)
class AuthorizedBroker:
    """A running broker."""

    address: str
    owner: dict[str, str]  # properties of a client that may do everything
    visitor: dict[str, str]  # properties of one that may do what is allowed

    def make_topic(self, name: str) -> None:
        """A topic of one partition."""
        topic = NewTopic(name, num_partitions=1, replication_factor=1)
        admin = AdminClient(self.owner)
        admin.create_topics([topic])[name].result(30)

    def allow(self, operation: AclOperation, topic: str) -> None:
        """Let the visitor do something with a topic."""
        binding = AclBinding(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            f"User:{VISITOR}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        admin = AdminClient(self.owner)
        admin.create_acls([binding])[binding].result(30)


@contextmanager
def authorized_broker(home: Path) -> Iterator[AuthorizedBroker]:
    """Run one for the length of the block."""
    port = free_port()
    server = AuthorizedKafka(home=home, port=port, controller_port=free_port({port}))
    with running(server):
        owner = {"bootstrap.servers": server.address, **server.login()}
        visitor = owner | {"sasl.username": VISITOR, "sasl.password": _SECRET}
        yield AuthorizedBroker(server.address, owner, visitor)
