"""The doctor's check of upkeep: what the next night does, what nobody does, and a server that does nothing."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from compose.local import service_checks
from compose.local.checks import make_check
from compose.local.service_checks import DATABASE_CHECKS
from corpus.upkeep import standing
from corpus.upkeep.standing import ServerUpkeep
from tests.support import upkeep

(CHECK,) = [check for check in DATABASE_CHECKS if check.name == "upkeep"]


@pytest.mark.parametrize(
    ("share", "is_on", "ok", "observed"),
    [
        (0.1, True, True, "nothing is due"),
        (0.3, True, True, "due, by the next `freshet maintain`: chunk: vacuum (30,000 dead rows"),
        (0.5, True, False, "chunk: vacuum (50,000 dead rows, 50%, at least 20%)"),
        (0.1, False, False, "autovacuum is off"),
    ],
)
def test_upkeep_that_is_due_and_that_nobody_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    is_on: bool,
    ok: bool,
    observed: str,
) -> None:
    dead = round(share * 100_000)
    found = upkeep.standing(
        upkeep.table(rows=100_000 - dead, dead=dead),
        server=ServerUpkeep(is_on=is_on, counts=True),
    )
    monkeypatch.setattr(service_checks, "_connection", lambda _: nullcontext())
    monkeypatch.setattr(standing, "read_standing", lambda _: found)
    result = make_check(CHECK, tmp_path)
    assert result.ok is ok
    assert result.observed.startswith(observed)
    assert bool(result.remedy) is not ok
