"""What runs in the processes that read documents, and in the one they are forked from.

The fork server is a program of its own: started with an empty environment and one descriptor, it imports modules, and
then forks on request. So a process for documents starts quickly, and its memory holds nothing of the worker's: no
setting, no password, no document but those it is sent. What documents of all kinds need, as a tokenizer, is made in it
once.
"""

import base64
import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from msgspec import Raw

from corpus.limits import confinement
from corpus.limits.messages import (
    HEADER,
    OutcomeMessage,
    Unpacker,
    frame,
    import_all,
    pack_plain,
)
from corpus.limits.work import Limit, Work

# A process keeps its place for so long and for the document in progress; other batches may be waiting.
_KEEP_PLACE_SECONDS = 1.0
_DETAIL_CHARACTERS = 200

# ── the fork server ─────────────────────────────────────────────────────────────────────────────────────────────────


def main(descriptor: int) -> None:
    """Fork on request until the worker ends.

    Args:
        descriptor: of the socket through which the worker asks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides when it ends
    os.environ.clear()  # Python itself sets a locale
    # A process is one thread, so that a document's time is its own, and a fork is whole.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["OMP_THREAD_LIMIT"] = "1"
    with socket.socket(fileno=descriptor) as control, suppress(EOFError, OSError):
        modules, _ = _receive(control)
        try:
            import_all(modules["modules"])
            confinement.load_libraries()
        except Exception as error:
            _reply(control, error=f"{type(error).__name__}: {error}")
            return
        _reply(control)
        unpacker = Unpacker()
        while True:
            request, descriptors = _receive(control)
            if "start" in request:
                _start(control, request["start"], descriptors[0], unpacker)
            elif "keep" in request:
                _keep(control, request["keep"], unpacker)
            else:
                _end(control, request["end"])


def _keep(control: socket.socket, message: str, unpacker: Unpacker) -> None:
    """Make values that the processes for documents begin with."""
    try:
        unpacker.keep(base64.b64decode(message))
    except Exception as error:
        _reply(control, error=type(error).__name__)
    else:
        _reply(control)


def _start(
    control: socket.socket,
    request: dict[str, Any],
    descriptor: int,
    unpacker: Unpacker,
) -> None:
    parent = os.getpid()
    child = os.fork()
    if child:
        os.close(descriptor)
        _reply(control, pid=child)
        return
    code = 1
    try:
        control.close()
        _serve(descriptor, request, parent, unpacker)
        code = 0
    finally:
        os._exit(code)


def _end(control: socket.socket, child: int) -> None:
    """Kill a process. It is not collected before the worker asks for this, so its number is no other's."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    _reply(control, code=code)


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    header, descriptors, _, _ = socket.recv_fds(control, HEADER.size, 1)
    if len(header) < HEADER.size:
        raise EOFError
    (length,) = HEADER.unpack(header)
    message = control.recv(length, socket.MSG_WAITALL)
    return json.loads(message), descriptors


def _reply(control: socket.socket, **values: object) -> None:
    message = json.dumps(values).encode()
    control.sendall(frame(message))


# ── a process for documents ─────────────────────────────────────────────────────────────────────────────────────────


def _serve(
    descriptor: int, request: dict[str, Any], parent: int, unpacker: Unpacker
) -> None:
    """Work on groups until the worker ends."""
    import_all(request["modules"])
    with (
        open(descriptor, "rb", closefd=False) as reader,
        open(descriptor, "wb", closefd=False) as writer,
        suppress(EOFError, OSError),
    ):
        confinement.confine(request["memory_bytes"], parent)
        _write(writer, pack_plain(unpacker.keys))
        while True:
            unpacker.keep(_read(reader))
            group = unpacker.unpack(_read(reader))
            _write(writer, b"")
            _work_on(group, writer)


def _read(reader: BinaryIO) -> bytes:
    header = reader.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    (length,) = HEADER.unpack(header)
    return reader.read(length)


def _write(writer: BinaryIO, message: bytes) -> None:
    writer.write(frame(message))
    writer.flush()


def _work_on(group: Sequence[Work[Any]], writer: BinaryIO) -> None:
    """Send an outcome for each document, and whether it is the last of the group, or of the time for the group."""
    started = time.monotonic()
    last = len(group) - 1
    for number, work in enumerate(group):
        outcome = _outcome(work)
        is_late = time.monotonic() - started > _KEEP_PLACE_SECONDS
        outcome.is_last = is_late or number == last
        _write(writer, pack_plain(outcome))
        if outcome.is_last:
            return


def _outcome(work: Work[Any]) -> OutcomeMessage:
    try:
        result = work()
        kind = work.results.index(type(result))
        return OutcomeMessage(kind=kind, result=Raw(pack_plain(result)))
    except MemoryError:
        return OutcomeMessage(limit=Limit.MEMORY)
    except Exception as error:
        text = str(error)[:_DETAIL_CHARACTERS]
        detail = f"{type(error).__name__}: {text}"
        shown = detail.encode("utf-8", "replace").decode()
        return OutcomeMessage(limit=Limit.ERROR, detail=shown)
