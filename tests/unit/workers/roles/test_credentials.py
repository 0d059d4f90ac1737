"""Credentials for Kafka are read again, and given to the clients that run."""

import asyncio
import logging

import pytest

from corpus.errors import ConfigurationError
from workers.roles import credentials as module
from workers.roles.credentials import Credentials, keep_current

USER = {"sasl.username": "u", "sasl.password": "one", "sasl.mechanism": "PLAIN"}


class Client:
    def __init__(self) -> None:
        self.logins: list[tuple[str, str]] = []

    def log_in(self, username: str, password: str) -> None:
        self.logins.append((username, password))


class File:
    """What the user's file says."""

    def __init__(self) -> None:
        self.lines = dict(USER)
        self.damaged = False

    def read(self) -> dict[str, str]:
        if self.damaged:
            raise ConfigurationError("line 3 is not name=value")
        return dict(self.lines)


def test_new_ones_are_given_to_every_client_once() -> None:
    file, given, clients = File(), dict(USER), [Client(), Client()]
    credentials = Credentials(given, file.read)
    assert not credentials.refresh(clients)
    file.lines["sasl.password"] = "two"
    assert credentials.refresh(clients)
    assert not credentials.refresh(clients)
    assert [client.logins for client in clients] == [[("u", "two")]] * 2
    assert given == USER | {"sasl.password": "two"}


@pytest.mark.parametrize("missing", ["sasl.username", "sasl.password"])
def test_a_file_that_is_being_written_is_read_again_later(
    missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    file, given, client = File(), dict(USER), Client()
    credentials = Credentials(given, file.read)
    del file.lines[missing]
    assert not credentials.refresh([client])
    file.damaged = True
    assert not credentials.refresh([client])
    assert (client.logins, given) == ([], USER)
    assert "line 3" in caplog.text


def test_without_a_password_there_is_nothing_to_do() -> None:
    client = Client()
    assert not Credentials({}, dict).refresh([client])
    assert client.logins == []


def test_no_log_line_holds_the_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    file = File()
    file.lines["sasl.password"] = "battery-staple"
    assert Credentials(dict(USER), file.read).refresh([Client()])
    assert "battery-staple" not in caplog.text


async def test_the_file_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    file, client = File(), Client()
    given_again = asyncio.Event()
    loop = asyncio.get_running_loop()
    log_in = client.log_in

    def noted(username: str, password: str) -> None:
        log_in(username, password)
        loop.call_soon_threadsafe(given_again.set)

    client.log_in = noted  # type: ignore[method-assign]
    keeping = asyncio.create_task(keep_current(Credentials(dict(USER), file.read), client))
    for password in ("two", "three"):
        given_again.clear()
        file.lines["sasl.password"] = password
        await asyncio.wait_for(given_again.wait(), 10)
    keeping.cancel()
    assert client.logins == [("u", "two"), ("u", "three")]
