"""A pooler between clients and PostgreSQL, which lends sessions as PgBouncer does with `pool_mode = transaction`.

It speaks as much of the wire protocol as that needs: it answers a client's start itself, lends it a session of the
server when it sends something, and takes the session back when the server is ready outside of a transaction.
"""

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import make_conninfo

_SSL_REQUEST, _GSS_REQUEST, _CANCEL = 80877103, 80877104, 80877102
_SYNCHRONISING = b"QSF"  # frontend messages that the server answers with ReadyForQuery
# libpq escapes by the last of them.
_STATED = (
    "server_version",
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
)


@dataclass(kw_only=True)
class Pooler:
    """A pooler in front of one database.

    Attributes:
        url: connection string of the database.
        whole_sessions: a client keeps its session until it leaves.
        own_numbers: clients get numbers of the pooler's own, and not the process number of a session.
        lent: how often a session was lent.
    """

    url: str
    whole_sessions: bool = False
    own_numbers: bool = True
    lent: int = 0
    _idle: list["_Session"] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sockets: list[socket.socket] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve clients; yields the connection string of the pooler."""
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        try:
            yield make_conninfo(self.url, host="127.0.0.1", port=listener.getsockname()[1])
        finally:
            # A thread that waits in accept() would keep the port.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for client in self._sockets:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            for session in self._idle:
                session.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        session: _Session | None = None
        with client, suppress(OSError, EOFError):
            if not self._start(client):
                return
            if self.whole_sessions:
                self._keep(client)
                return
            try:
                while True:
                    message = _read_message(client)
                    if message[:1] == b"X":
                        return
                    session = session or self._lend()
                    session.relay(client, message)
                    if session.is_free:
                        self._take_back(session)
                        session = None
            finally:
                # As PgBouncer does with a session in a transaction.
                if session is not None:
                    session.close()

    def _keep(self, client: socket.socket) -> None:
        session = self._lend()
        other = {client: session.socket, session.socket: client}
        with closing(session):
            while True:
                readable, _, _ = select.select(list(other), [], [])
                for side in readable:
                    received = side.recv(65_536)
                    if not received:
                        return
                    other[side].sendall(received)

    def _start(self, client: socket.socket) -> bool:
        while True:
            (length,) = struct.unpack("!I", _read(client, 4))
            body = _read(client, length - 4)
            (code,) = struct.unpack("!I", body[:4])
            if code == _CANCEL:
                return False
            if code not in (_SSL_REQUEST, _GSS_REQUEST):
                break
            client.sendall(b"N")
        session = self._lend()
        stated = [
            name.encode() + b"\0" + (session.connection.info.parameter_status(name) or "").encode()
            for name in _STATED
        ]
        number = session.connection.info.backend_pid
        self._take_back(session)
        if self.own_numbers:
            number = 1_000_000_000 + len(self._sockets)
        client.sendall(_message(b"R", struct.pack("!I", 0)))
        for text in stated:
            client.sendall(_message(b"S", text + b"\0"))
        client.sendall(_message(b"K", struct.pack("!II", number, 7)))
        client.sendall(_message(b"Z", b"I"))
        return True

    def _lend(self) -> "_Session":
        with self._lock:
            self.lent += 1
            if self._idle:
                return self._idle.pop()
        return _Session(self.url)

    def _take_back(self, session: "_Session") -> None:
        with self._lock:
            self._idle.append(session)


class _Session:
    """A session of the server: libpq logs in, and its socket is used from then on."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, application_name="pooler")
        self.socket = socket.socket(fileno=os.dup(self.connection.fileno()))
        self.socket.setblocking(True)
        self.is_free = True

    def close(self) -> None:
        """End the session."""
        self.socket.close()
        self.connection.close()

    def relay(self, client: socket.socket, message: bytes) -> None:
        """Send a client's message, and everything from both sides until the server is ready."""
        outstanding = 0
        while True:
            self.socket.sendall(message)
            outstanding += message[:1] in _SYNCHRONISING and bool(message)
            while True:
                readable, _, _ = select.select([client, self.socket], [], [])
                if self.socket in readable:
                    answer = _read_message(self.socket)
                    client.sendall(answer)
                    if answer[:1] == b"Z":
                        outstanding -= 1
                        self.is_free = answer[-1:] == b"I"
                        if not outstanding:
                            return
                else:
                    message = _read_message(client)
                    break


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _read_message(connection: socket.socket) -> bytes:
    head = _read(connection, 5)
    (length,) = struct.unpack("!I", head[1:])
    return head + _read(connection, length - 4)


def _read(connection: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = connection.recv(count - len(read))
        if not piece:
            raise EOFError
        read += piece
    return read
