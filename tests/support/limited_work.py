"""Work for processes with limits; it is in a module of its own so that another process finds it."""

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Call:
    """Calls a function of this module with a text."""

    results: ClassVar[tuple[type[Any], ...]] = (int, str, type(None))

    function: str
    text: str = ""
    characters: int = 1

    def __call__(self) -> object:
        function = getattr(sys.modules[__name__], self.function)
        return function(self.text)


def pid(_: str) -> int:
    return os.getpid()


def leave(text: str) -> None:
    """What a document may make of its parser."""
    os.environ["LEFT"] = text


def left(_: str) -> str:
    return os.environ.get("LEFT", "")


def sleep(seconds: str) -> str:
    time.sleep(float(seconds))
    return seconds


def hang(_: str) -> None:
    """In C, without giving the interpreter back: no Python code runs in the process any more."""
    ctypes.PyDLL(None).sleep(1_000)


def spin(_: str) -> None:
    """Compute for ever, deaf to what asks to end."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def eat(_: str) -> int:
    return len(bytearray(2_000_000_000))


def raise_error(text: str) -> None:
    raise ValueError(text)


def die(_: str) -> None:
    os.abort()


def end_by_a_signal_without_a_name(_: str) -> None:
    os.kill(os.getpid(), signal.SIGRTMIN + 6)
