"""Work for processes with limits; it is in a module of its own so that another process finds it."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """Calls a function with a text."""

    function: Callable[[str], object]
    text: str = ""
    characters: int = 1

    def __call__(self) -> object:
        return self.function(self.text)


def pid(_: str) -> int:
    return os.getpid()


def sleep(seconds: str) -> str:
    time.sleep(float(seconds))
    return seconds


def hang(_: str) -> None:
    """In C, without giving the interpreter back: no Python code runs in the process any more."""
    ctypes.PyDLL(None).sleep(1_000)


def spin(path: str) -> None:
    """Compute for ever, deaf to what asks to end."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    while True:
        pass


def eat(_: str) -> int:
    return len(bytearray(2_000_000_000))


def raise_error(text: str) -> None:
    raise ValueError(text)


def die(_: str) -> None:
    os.abort()


def die_once(path: str) -> str:
    """As where the machine had no memory for a moment."""
    file = Path(path)
    if not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"
