"""What a check of `freshet doctor` is, and how one is made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corpus.disclosure.error_text import public_text
from corpus.errors import FreshetError


class CheckFailedError(Exception):
    """A check failed; the message says what was observed.

    Attributes:
        remedy: what to do, where it depends on what was observed.
    """

    def __init__(self, observed: str, remedy: str = "") -> None:
        super().__init__(observed)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Check:
    """One check, before it is made.

    Attributes:
        name: what is checked.
        observe: returns what it observed in a state directory; raises an error if that is wrong.
        remedy: what to do if the check fails.
    """

    name: str
    observe: Callable[[Path], str]
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: what was checked.
        ok: whether all is well.
        observed: what was observed.
        remedy: what to do; empty if all is well.
    """

    name: str
    ok: bool
    observed: str
    remedy: str = ""


def make_check(check: Check, home: Path) -> CheckResult:
    """Make one check. An error of any kind fails it, and the other checks are still made."""
    remedy = check.remedy
    try:
        return CheckResult(name=check.name, ok=True, observed=check.observe(home))
    except CheckFailedError as error:
        observed = str(error)
        remedy = error.remedy or remedy
    except FreshetError as error:
        observed = str(error)
    except Exception as error:
        observed = public_text(error)
    return CheckResult(
        name=check.name,
        ok=False,
        observed=" ".join(observed.split()),
        remedy=remedy,
    )
