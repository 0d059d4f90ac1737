"""Ports of the local stack: chosen once and kept, since Kafka tells its address to clients and people bookmark the UI."""

import json
import os
import random
import re
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from compose.local.machine.files import write_private
from corpus.errors import ConfigurationError

# Name -> setting that fixes it.
PORTS = {
    "postgres": "FRESHET_POSTGRES_PORT",
    "kafka": "FRESHET_KAFKA_PORT",
    "kafka-controller": "FRESHET_KAFKA_CONTROLLER_PORT",
    "temporal": "FRESHET_TEMPORAL_PORT",
    "temporal-ui": "FRESHET_TEMPORAL_UI_PORT",
}
# Below the range from which systems take the ports of outgoing connections (Linux 32768, macOS 49152): a port from
# that range may be in use by anything when the stack comes back.
_MIN_PORT, _MAX_PORT = 20_000, 32_000


def choose(home: Path, given: dict[str, int] | None = None) -> dict[str, int]:
    """Ports by name: given ones, else those of the environment, else those kept in `home`, else free ones; kept in `home`.

    Raises:
        ConfigurationError: a port is not a number from 1 to 65535, or two parts were given the same.
    """
    path = home / "ports.json"
    kept: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    ports = {name: int(kept[name]) for name in PORTS if name in kept}
    for name, setting in PORTS.items():
        value = (given or {}).get(name) or os.environ.get(setting)
        if value:
            ports[name] = _port(setting, value)
    for name in PORTS:
        if name not in ports:
            ports[name] = free_port(set(ports.values()))
    if len(set(ports.values())) < len(ports):
        raise ConfigurationError(f"two parts have the same port: {ports}; give each its own")
    if ports != kept:
        write_private(path, json.dumps(ports, indent=2))
    return ports


def check(given: Mapping[str, int]) -> None:
    """Refuse what is no port.

    Raises:
        ConfigurationError: names the option and the value.
    """
    for name, port in given.items():
        _port(f"--{name}-port", port)


def free_port(taken: set[int] | None = None) -> int:
    """A free loopback port that is not in `taken`."""
    for _ in range(1000):
        port = random.randint(_MIN_PORT, _MAX_PORT)
        if port not in (taken or set()) and is_free(port):
            return port
    raise ConfigurationError(
        f"no free port between {_MIN_PORT} and {_MAX_PORT} on 127.0.0.1; set {', '.join(PORTS.values())}"
    )


def is_free(port: int) -> bool:
    """Whether nothing listens there; a port in TIME_WAIT is free, as it is for the servers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def require_free(name: str, port: int) -> None:
    """Refuse a port that another program holds.

    Raises:
        ConfigurationError: names the program where the system tells.
    """
    if is_free(port):
        return
    raise ConfigurationError(
        f"port {port} of {name} is taken{_holder(port)}; free it, or choose another with `freshet up --{name}-port N`"
    )


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return ""
    return ""


def _port(setting: str, value: int | str) -> int:
    if not re.fullmatch("[0-9]{1,5}", str(value)) or not 0 < int(value) < 65_536:
        raise ConfigurationError(f"{setting}={value!r} is not a port from 1 to 65535")
    return int(value)
