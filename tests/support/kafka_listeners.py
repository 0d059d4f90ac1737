"""A broker with one more listener."""

from collections.abc import Mapping


def with_listener(
    settings: Mapping[str, object], name: str, protocol: str, port: int, *, advertised: int = 0
) -> dict[str, object]:
    """The broker's settings with a listener on a port of loopback.

    Args:
        settings: of the broker.
        name: of the listener.
        protocol: PLAINTEXT, SASL_SSL, ...
        port: on which it listens.
        advertised: the port that its clients get to know; 0: the same.
    """
    added = {
        "listeners": f"{name}://127.0.0.1:{port}",
        "advertised.listeners": f"{name}://127.0.0.1:{advertised or port}",
        "listener.security.protocol.map": f"{name}:{protocol}",
    }
    return {**settings, **{key: f"{settings[key]},{value}" for key, value in added.items()}}
