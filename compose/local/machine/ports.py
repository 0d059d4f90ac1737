"""Ports of the local stack, chosen once and kept.

Kafka hands its address to clients and people bookmark the web UI, so a port must survive a restart.
"""

import os
import random
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import psutil

from compose.local.machine.files import write_private
from corpus.errors import ConfigurationError

# Name of a port -> environment variable that sets it.
PORTS = {
    "postgres": "FRESHET_POSTGRES_PORT",
    "kafka": "FRESHET_KAFKA_PORT",
    "kafka-controller": "FRESHET_KAFKA_CONTROLLER_PORT",
    "temporal": "FRESHET_TEMPORAL_PORT",
    "temporal-ui": "FRESHET_TEMPORAL_UI_PORT",
}
# Systems take the ports of outgoing connections from 32768 (Linux) or 49152 (macOS) on. A port from that range may be
# in use by any program when the stack comes back.
_MIN_CHOSEN, _MAX_CHOSEN = 20_000, 32_000
_MAX_PORT = 65_535
_MAX_TRIES = 1000

Port = Annotated[int, msgspec.Meta(gt=0, le=_MAX_PORT)]


def choose(home: Path, given: Mapping[str, int] | None = None) -> dict[str, int]:
    """Choose a port for every name in `PORTS`, and keep the choice in HOME/ports.json.

    A given port comes first, then the environment's, then the kept one, then a free one.

    Raises:
        ConfigurationError: a port is not a number from 1 to 65535, two parts have the same port, or ports.json cannot
            be read.
    """
    kept = _read_kept(home)
    ports = kept | _fixed_ports(given or {})
    for name in PORTS:
        if name not in ports:
            ports[name] = free_port(set(ports.values()))
    different = set(ports.values())
    if len(different) < len(ports):
        raise ConfigurationError(
            f"two parts have the same port: {ports}; give each part its own"
        )
    if ports != kept:
        compact = msgspec.json.encode(ports)
        text = msgspec.json.format(compact, indent=2)
        write_private(home / "ports.json", text.decode())
    return ports


def validate(given: Mapping[str, int]) -> None:
    """Refuse a value that is not a port.

    Raises:
        ConfigurationError: a value is not a port; the message names the option and the value.
    """
    for name, port in given.items():
        _parse_port(f"--{name}-port", port)


def free_port(taken: set[int] | None = None) -> int:
    """Return a free port on loopback that is not in `taken`.

    Raises:
        ConfigurationError: no port of the range is free.
    """
    unusable = taken or set()
    for _ in range(_MAX_TRIES):
        port = random.randint(_MIN_CHOSEN, _MAX_CHOSEN)
        if port in unusable:
            continue
        if is_free(port):
            return port
    raise ConfigurationError(
        f"no port between {_MIN_CHOSEN} and {_MAX_CHOSEN} is free on 127.0.0.1; "
        f"set {', '.join(PORTS.values())}"
    )


def is_free(port: int) -> bool:
    """Return whether no program listens on the port.

    A port in TIME_WAIT counts as free, as it does for the servers.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts_connections(port: int) -> bool:
    """Return whether a program accepts connections on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def require_free(name: str, port: int) -> None:
    """Refuse a port on which another program listens.

    Raises:
        ConfigurationError: the port is taken; the message names the program if the system shows it.
    """
    if is_free(port):
        return
    raise ConfigurationError(
        f"port {port} of {name} is taken{_describe_holder(port)}; "
        f"free it, or choose another with `freshet up --{name}-port N`"
    )


def _read_kept(home: Path) -> dict[str, int]:
    """The ports in HOME/ports.json that this version knows by name; empty without the file."""
    path = home / "ports.json"
    if not path.exists():
        return {}
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=dict[str, Port])
    except (msgspec.MsgspecError, OSError) as error:
        raise ConfigurationError(
            f"{path} cannot be used: {error}; correct it, "
            "or delete it so that the next `freshet up` chooses ports again"
        ) from error
    return {name: port for name, port in kept.items() if name in PORTS}


def _fixed_ports(given: Mapping[str, int]) -> dict[str, int]:
    """The ports that the caller or the environment sets."""
    fixed: dict[str, int] = {}
    for name, setting in PORTS.items():
        value = given.get(name)
        if not value:
            value = os.environ.get(setting)
        if value:
            fixed[name] = _parse_port(setting, value)
    return fixed


def _describe_holder(port: int) -> str:
    """The program that listens on the port, in words; empty if the system does not show it."""
    try:
        for connection in psutil.net_connections("tcp"):
            pid = connection.pid
            if not pid or not connection.laddr:
                continue
            if connection.laddr.port == port:
                process = psutil.Process(pid)
                return f" by {process.name()} (pid {pid})"
    except psutil.Error:
        return ""
    return ""


def _parse_port(setting: str, value: int | str) -> int:
    if re.fullmatch("[0-9]{1,5}", str(value)):
        port = int(value)
        if 0 < port <= _MAX_PORT:
            return port
    raise ConfigurationError(f"{setting}={value!r} is not a port from 1 to {_MAX_PORT}")
