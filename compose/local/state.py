"""Files of the state directory through which the commands and the supervisor talk to each other.

=================== ========================== ====================================================
file                written by                 holds
=================== ========================== ====================================================
HOME/stack.json     the supervisor             what runs: addresses, processes, states of the parts
HOME/wanted.json    `freshet up`               the newest request: which parts are to run
HOME/secrets/       the supervisor             connection strings with their passwords, for the commands
=================== ========================== ====================================================

Names of fields never change: a stack that runs under an older version is adopted by this one.
"""

import logging
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from compose.local.machine.files import locked, write_private
from compose.local.machine.process import ProcessId
from compose.local.parts.part import PartStatus
from corpus.errors import ConfigurationError

logger = logging.getLogger(__name__)

_REWRITE_SECONDS = 2.0
_POLL_SECONDS = 0.05

_File = TypeVar("_File")


class StateFileError(ConfigurationError):
    """A file of the state directory cannot be read; the message names the file and the remedy."""


class StackFile(msgspec.Struct, kw_only=True):
    """HOME/stack.json.

    Attributes:
        home: the state directory.
        supervisor: process that wrote the file.
        request: number of the newest request that the supervisor has read.
        addresses: name of an address -> address, for `workers.config.settings`.
        ports: name of a port -> port.
        parts: name of a part -> its status.
    """

    home: str = ""
    supervisor: ProcessId | None = None
    request: int = msgspec.field(name="asked", default=0)
    addresses: dict[str, str] = {}
    ports: dict[str, int] = {}
    parts: dict[str, PartStatus] = {}


class Request(msgspec.Struct, kw_only=True):
    """HOME/wanted.json.

    Attributes:
        number: grows with each request, so that `up` sees when the supervisor has read its own.
        parts: names of the parts that are to run.
    """

    number: int = msgspec.field(name="asked", default=0)
    parts: list[str] = []


def read_stack(home: Path) -> StackFile:
    """Read HOME/stack.json; without the file nothing runs, and the result is empty.

    Raises:
        StateFileError: the file cannot be read.
    """
    return _read(_stack_path(home), StackFile) or StackFile()


def read_statuses(home: Path) -> dict[str, PartStatus]:
    """Read the status of each part in HOME/stack.json.

    Raises:
        StateFileError: the file cannot be read.
    """
    return read_stack(home).parts


def read_supervisor(home: Path) -> ProcessId | None:
    """Read the supervisor in HOME/stack.json; None if it does not run.

    Raises:
        StateFileError: the file cannot be read.
    """
    supervisor = read_stack(home).supervisor
    if supervisor is None or not supervisor.alive():
        return None
    return supervisor


def write_stack(home: Path, stack: StackFile) -> None:
    """Replace HOME/stack.json."""
    write_private(_stack_path(home), _encode(stack))


def remove_stack(home: Path) -> None:
    """Remove HOME/stack.json and HOME/secrets: nothing runs."""
    _stack_path(home).unlink(missing_ok=True)
    shutil.rmtree(_secrets(home), ignore_errors=True)


def secret_file(home: Path, name: str) -> Path:
    """The file of a secret, which `stack.json` names and does not hold."""
    return _secrets(home) / name.replace("_", "-")


def read_request(home: Path) -> Request:
    """Read HOME/wanted.json; without the file the result is the request number 0, for no part.

    Raises:
        StateFileError: the file cannot be read.
    """
    return _read(_request_path(home), Request) or Request()


def add_request(home: Path, names: Iterable[str], *, fresh: bool) -> Request:
    """Write a new request, and return it.

    A file that cannot be read is replaced: the request then holds `names` only.

    Args:
        home: state directory.
        names: parts that are to run.
        fresh: whether the parts of the request before are dropped.
    """
    with locked(home / "wanted.lock"):
        try:
            before = read_request(home)
        except StateFileError as error:
            logger.warning(
                "A request is replaced",
                extra={"action": "request", "reason": str(error)},
            )
            # The number must differ from every earlier one, which a counter that begins again would not.
            before = Request(number=int(time.time()))
        kept = [] if fresh else before.parts
        parts = list(dict.fromkeys([*kept, *names]))
        request = Request(number=before.number + 1, parts=parts)
        write_private(_request_path(home), _encode(request))
    return request


def recover_stack_file(home: Path) -> None:
    """Set an unreadable HOME/stack.json aside, and let a supervisor that still runs write it again.

    The supervisor writes the file when it reads a request, so an empty request is enough. Without a supervisor there
    is no file afterwards; processes of the stack are then known by their mark only.
    """
    try:
        read_stack(home)
    except StateFileError as error:
        logger.warning(
            "stack.json is set aside",
            extra={"action": "recover_stack_file", "reason": str(error)},
        )
        path = _stack_path(home)
        path.replace(path.with_name("stack.json.unreadable"))
        add_request(home, (), fresh=False)
        deadline = time.monotonic() + _REWRITE_SECONDS
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _stack_path(home: Path) -> Path:
    return home / "stack.json"


def _secrets(home: Path) -> Path:
    return home / "secrets"


def _request_path(home: Path) -> Path:
    return home / "wanted.json"


def _encode(value: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _read(path: Path, kind: type[_File]) -> _File | None:
    """Read a file of a kind; None without the file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        raise StateFileError(
            f"{path} cannot be read: {error}; `freshet up --detach` or `freshet down` replaces it"
        ) from error
