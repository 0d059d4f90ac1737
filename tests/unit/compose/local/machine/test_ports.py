"""Ports are chosen once; a value that is not a port is refused before anything is made."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compose.local import commands
from compose.local.machine import ports
from compose.local.machine.ports import PORTS, choose, free_port, require_free
from corpus.errors import ConfigurationError


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("port", [-5, 65_536, 99_999_999])
def test_a_value_that_is_not_a_port_is_refused(tmp_path: Path, port: int) -> None:
    home = tmp_path / "home"
    message = f"--kafka-port={port} is not a port from 1 to 65535"
    with pytest.raises(ConfigurationError, match=message):
        commands.prepare_home(home, {"kafka": port})
    assert not home.exists()


@pytest.mark.parametrize("value", ["0", "65536", "-1", "1e3", " 80", "80 ", "٣٠٠٠", "0x50", "abc"])
def test_a_variable_that_is_not_a_port_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("FRESHET_KAFKA_PORT", value)
    with pytest.raises(ConfigurationError, match=r"FRESHET_KAFKA_PORT=.* is not a port"):
        choose(tmp_path)
    assert not (tmp_path / "ports.json").exists()


def test_ports_are_different_free_and_kept(tmp_path: Path) -> None:
    chosen = choose(tmp_path)
    assert set(chosen) == set(PORTS)
    assert len(set(chosen.values())) == len(PORTS)
    assert all(20_000 <= port <= 32_000 for port in chosen.values())
    assert choose(tmp_path) == chosen
    assert (tmp_path / "ports.json").stat().st_mode & 0o077 == 0


def test_a_given_port_wins_over_the_environment_and_that_over_the_kept_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = choose(tmp_path, {"kafka": 21_001})
    monkeypatch.setenv("FRESHET_KAFKA_PORT", "21002")
    assert choose(tmp_path) == kept | {"kafka": 21_002}
    assert choose(tmp_path, {"kafka": 21_003}) == kept | {"kafka": 21_003}
    monkeypatch.delenv("FRESHET_KAFKA_PORT")
    assert choose(tmp_path) == kept | {"kafka": 21_003}  # the last choice is the kept one
    monkeypatch.setenv("FRESHET_KAFKA_PORT", "")
    assert choose(tmp_path) == kept | {"kafka": 21_003}


def test_two_parts_cannot_have_one_port(tmp_path: Path) -> None:
    kept = choose(tmp_path)
    with pytest.raises(ConfigurationError, match="two parts have the same port"):
        choose(tmp_path, {"temporal": kept["postgres"]})
    assert choose(tmp_path) == kept


def test_ports_of_another_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"kafka": 21004, "metrics": 21005}')
    chosen = choose(tmp_path)
    assert chosen["kafka"] == 21_004
    assert set(chosen) == set(PORTS)


DAMAGED = ["", "{", "null", "[1]", '"x"', '{"kafka": "21000"}', '{"kafka": 0}', '{"kafka": 65536}']
DAMAGED += ['{"kafka": 21000.5}', '{"kafka": null}', '{"kafka": true}', '{"kafka": -1}', "\x00"]


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_kept_ports_are_named_and_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ports.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"ports\.json cannot be used: .*delete it"):
        choose(tmp_path)
    assert path.read_text() == text


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_any_kept_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ports.json").write_bytes(content)
    try:
        chosen = choose(tmp_path)
    except ConfigurationError:
        return
    assert json.loads((tmp_path / "ports.json").read_bytes()) == chosen


def test_a_busy_port_is_named_with_its_program(busy_port: int) -> None:
    message = rf"port {busy_port} of kafka is taken by .* \(pid \d+\); .* --kafka-port N"
    with pytest.raises(ConfigurationError, match=message):
        require_free("kafka", busy_port)


def test_a_port_that_was_taken_after_it_was_chosen_is_refused(tmp_path: Path) -> None:
    chosen = choose(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", chosen["temporal"]))
        other.listen()
        assert choose(tmp_path) == chosen  # clients know it, so it is not replaced
        with pytest.raises(ConfigurationError, match="is taken"):
            require_free("temporal", chosen["temporal"])
    require_free("temporal", chosen["temporal"])


def test_a_port_on_which_nothing_listens_accepts_no_connection(busy_port: int) -> None:
    assert ports.accepts_connections(busy_port)
    assert not ports.is_free(busy_port)
    quiet = free_port({busy_port})
    assert not ports.accepts_connections(quiet)
    assert ports.is_free(quiet)


def test_free_ports_avoid_the_taken_ones_and_end_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = set(range(20_000, 32_001))
    with pytest.raises(ConfigurationError, match="no port between 20000 and 32000 is free"):
        free_port(everything)
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(ConfigurationError, match="FRESHET_TEMPORAL_UI_PORT"):
        free_port()
