"""The worker's side of the program that its processes for documents are forked from (`corpus.limits.forked`)."""

import atexit
import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from corpus.errors import DependencyError
from corpus.limits.messages import HEADER, SharedDefinition, frame, pack_plain

_START_SECONDS = 60.0
_READ_BYTES = 1 << 20
_MAX_KEPT = 8  # shared values; an installation has few models
# Nothing of the worker's environment is in the program; it is sent where modules are, and imports no others.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from corpus.limits.forked import main; main(int(sys.argv[1]))"
)


class Channel:
    """Messages to and from another process, which need not be what it should be.

    Args:
        end: of a connection; it is closed with the channel.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._received = bytearray()

    def send(self, message: bytes, seconds: float) -> None:
        """Send a message.

        Raises:
            OSError: the process has ended, or did not read it in time (TimeoutError).
        """
        self._socket.settimeout(seconds)
        self._socket.sendall(frame(message))

    def receive(self, seconds: float, max_bytes: int) -> bytes:
        """Return the next message.

        Raises:
            TimeoutError: it has not come as a whole in time.
            EOFError, OSError: the process has ended.
            ValueError: it is longer than a message may be.
        """
        deadline = time.monotonic() + seconds
        (length,) = HEADER.unpack(self._take(HEADER.size, deadline))
        if length > max_bytes:
            raise ValueError(f"a message of {length:,} bytes")
        return self._take(length, deadline)

    def close(self) -> None:
        """Close the connection; safe to call again."""
        self._socket.close()

    def _take(self, length: int, deadline: float) -> bytes:
        while len(self._received) < length:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self._socket.settimeout(remaining)
            part = self._socket.recv(_READ_BYTES)
            if not part:
                raise EOFError
            self._received += part
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken


class ForkServer:
    """The program, as the worker sees it; it starts when it is needed, and again where it was ended.

    Attributes:
        preload: modules that its processes need; they are imported once.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self.preload = preload
        self._lock = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._pids: set[int] = set()  # of this program's processes
        self._kept: set[str] = set()  # keys of the shared values that it holds

    def start(
        self, memory_bytes: int, modules: Sequence[str]
    ) -> tuple[int, socket.socket]:
        """Start a process for documents.

        Args:
            memory_bytes: address space that it may use.
            modules: that it needs beyond those that are preloaded.

        Returns:
            Its process id, and the connection to it.

        Raises:
            DependencyError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        request = {"memory_bytes": memory_bytes, "modules": list(modules)}
        with theirs:
            try:
                with self._lock:
                    reply = self._ask_again({"start": request}, theirs.fileno())
                    pid: int = reply["pid"]
                    self._pids.add(pid)
            except BaseException:
                ours.close()
                raise
        return pid, ours

    def keep(self, shared: Sequence[SharedDefinition]) -> None:
        """Hand over shared values, of which the program makes each once, for all processes that start after it.

        Where it lacks their modules, or is a new program by then, a process has to be sent them.

        Raises:
            DependencyError: the program cannot be started.
        """
        with self._lock:
            new = [one for one in shared if one.key not in self._kept]
            if not new or len(self._kept) + len(new) > _MAX_KEPT:
                return
            message = base64.b64encode(pack_plain(new)).decode("ascii")
            reply = self._ask_again({"keep": message})
            if "error" not in reply:
                self._kept.update(one.key for one in new)

    def end(self, pid: int) -> int | None:
        """Kill a process that was started here; return its exit code, None: it ended with the program."""
        with self._lock, suppress(OSError, EOFError):
            # The number of one that ended with its program may be another process's by now.
            if pid in self._pids:
                self._pids.discard(pid)
                return self._ask({"end": pid}).get("code")
        return None

    def open(self) -> None:
        """Start the program where it does not run, so that the first documents do not wait for its imports.

        Raises:
            DependencyError: it cannot be started.
        """
        with self._lock:
            if self._program is not None and self._program.poll() is None:
                return
            self._close()
            with _end_named():
                self._open()

    def close(self) -> None:
        """End the program, and its processes with it; safe to call again."""
        with self._lock:
            self._close()

    def _ask_again(self, request: dict[str, Any], *descriptors: int) -> dict[str, Any]:
        """Ask the program, or a new one if it was ended; the caller holds the lock."""
        if self._control is not None:
            with suppress(OSError, EOFError):
                return self._ask(request, *descriptors)
        self._close()
        with _end_named():
            self._open()
            return self._ask(request, *descriptors)

    def _open(self) -> None:
        ours, theirs = socket.socketpair()
        path = [entry or "." for entry in sys.path]
        descriptor = theirs.fileno()
        with theirs:
            self._program = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-X", "utf8"),
                    *("-c", _PROGRAM, str(descriptor)),
                    *path,
                ],
                env={},
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.settimeout(_START_SECONDS)
        self._control = ours
        reply = self._ask({"modules": list(self.preload)})
        if "error" in reply:
            self._close()
            raise DependencyError(
                f"processes for documents cannot be started: {reply['error']}"
            )

    def _ask(self, request: dict[str, Any], *descriptors: int) -> dict[str, Any]:
        control = self._control
        if control is None:
            raise EOFError
        message = frame(json.dumps(request).encode())
        try:
            sent = socket.send_fds(control, [message], descriptors)
            control.sendall(message[sent:])  # what the connection had no room for
            (length,) = HEADER.unpack(_exactly(control, HEADER.size))
            return json.loads(_exactly(control, length))
        except BaseException:
            # An answer that comes too late would be taken for that of the next request.
            self._close()
            raise

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._program is not None:
            self._program.kill()
            self._program.wait()
        self._control = None
        self._program = None
        self._pids.clear()
        self._kept.clear()


_servers: dict[tuple[str, ...], ForkServer] = {}
_servers_lock = threading.Lock()


def fork_server(preload: Sequence[str]) -> ForkServer:
    """The program with these modules; all users share it, and it ends with this process."""
    key = tuple(sorted(set(preload)))
    with _servers_lock:
        if key not in _servers:
            server = ForkServer(key)
            atexit.register(server.close)
            _servers[key] = server
        return _servers[key]


@contextmanager
def _end_named() -> Generator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise DependencyError(
            "the program that starts processes for documents was ended"
        ) from error


def _exactly(control: socket.socket, length: int) -> bytes:
    received = control.recv(length, socket.MSG_WAITALL)
    if len(received) < length:
        raise EOFError
    return received
