"""A parser that a document has taken over, for tests: it tries to get out of its process."""

import ctypes
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

_NOTHING = "nothing"


@dataclass(frozen=True)
class Hostile:
    """Makes one attempt, with what it was told of its worker."""

    results: ClassVar[tuple[type[Any], ...]] = (str,)

    attempt: str
    target: str = ""
    characters: int = 1

    def __call__(self) -> str:
        attempt = getattr(sys.modules[__name__], self.attempt)
        try:
            return attempt(self.target)
        except OSError as error:
            return f"refused: {error.strerror}"


def environment(_: str) -> str:
    ours = {"TOKENIZERS_PARALLELISM", "OPENBLAS_NUM_THREADS", "OMP_THREAD_LIMIT"}
    further = {name: value for name, value in os.environ.items() if name not in ours}
    return str(further) if further else _NOTHING


def environment_of_the_kernel(_: str) -> str:
    return Path("/proc/self/environ").read_text(encoding="utf-8")


def environment_of_the_worker(pid: str) -> str:
    return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")


def file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def file_by_system_call(path: str) -> str:
    """Past Python: as machine code in a parser would."""
    at_current_folder = -100
    library = ctypes.CDLL(None, use_errno=True)
    return _result(library.openat(at_current_folder, path.encode(), os.O_RDONLY))


def write_file(path: str) -> str:
    Path(path).write_text("hostile", encoding="utf-8")
    return "written"


def change_mode(path: str) -> str:
    Path(path).chmod(0o777)
    return "changed"


def remove_file(path: str) -> str:
    Path(path).unlink()
    return "removed"


def connect(port: str) -> str:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", int(port)))
    return "connected"


def send_packet(port: str) -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"document", ("127.0.0.1", int(port)))
    return "sent"


def local_socket(_: str) -> str:
    socket.socketpair()
    return "made"


def signal_worker(pid: str) -> str:
    os.kill(int(pid), signal.SIGTERM)
    return "sent"


def signal_everyone(_: str) -> str:
    os.kill(-1, signal.SIGTERM)
    return "sent"


def worker_memory(pid: str) -> str:
    return _result(ctypes.CDLL(None, use_errno=True).ptrace(16, int(pid), None, None))


def worker_descriptor(pid: str) -> str:
    pidfd_open = 434
    return _result(ctypes.CDLL(None, use_errno=True).syscall(pidfd_open, int(pid), 0))


def limit_of_worker(pid: str) -> str:
    resource.prlimit(int(pid), resource.RLIMIT_NOFILE, (0, 0))
    return "changed"


def limits_back(_: str) -> str:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    except ValueError:
        return "refused: limit"
    return "changed"


def program(_: str) -> str:
    subprocess.run(["/bin/true"], check=False)
    return "run"


def replace_itself(_: str) -> str:
    os.execv("/bin/true", ["true"])


@dataclass(frozen=True)
class WritesPickle:
    """Writes to every descriptor what runs code where it is unpickled."""

    results: ClassVar[tuple[type[Any], ...]] = (str,)

    command: str
    framed: bool
    characters: int = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)

    def __call__(self) -> str:
        message = pickle.dumps(self)
        header = struct.pack(">Q", len(message)) if self.framed else b""
        for descriptor in range(64):
            try:
                os.write(descriptor, header + message)
            except OSError:
                continue
        return "written"


@dataclass(frozen=True)
class Answers:
    """Answers with bytes of its own, and then says nothing any more."""

    results: ClassVar[tuple[type[Any], ...]] = (str,)

    answer: bytes
    characters: int = 1

    def __call__(self) -> str:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, self.answer)
            except OSError:
                continue
        while True:
            signal.pause()


def _result(returned: int) -> str:
    if returned < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"returned {returned}"
