"""The name and password for Kafka, read again while clients run: they are rotated without a restart.

librdkafka uses new ones at its next login. Connections that are open stay so for as long as the broker lets them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from corpus.errors import ConfigurationError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
_NAMES = ("sasl.username", "sasl.password")


class LogsIn(Protocol):
    """A client, or what holds clients."""

    def log_in(self, username: str, password: str) -> None:
        """Use these at the next login."""
        ...


class Credentials:
    """What the user's properties say about logins.

    Args:
        given: the properties that clients are made with; new credentials are written into it, for clients to come.
        read: reads the properties again; raises ConfigurationError where they cannot be read.
    """

    def __init__(
        self, given: dict[str, str], read: Callable[[], Mapping[str, str]]
    ) -> None:
        self._given = given
        self._read = read

    def refresh(self, clients: Iterable[LogsIn]) -> bool:
        """Read them again; hand new ones to the clients, and return whether there were any.

        A file that cannot be read, or is just being written, is read again the next time.
        """
        try:
            found = self._read()
        except ConfigurationError as error:
            logger.warning(
                "credentials were not read again: %s",
                error,
                extra={"action": "credentials"},
            )
            return False
        new = {name: found.get(name, "") for name in _NAMES}
        if not all(new.values()) or new.items() <= self._given.items():
            return False
        self._given.update(new)
        for client in clients:
            client.log_in(*new.values())
        logger.info(
            "clients of Kafka have new credentials", extra={"action": "credentials"}
        )
        return True


async def keep_current(credentials: Credentials, *clients: LogsIn) -> None:
    """Look for new credentials every few seconds, until this is cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(credentials.refresh, clients)
