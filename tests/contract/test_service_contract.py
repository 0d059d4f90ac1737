"""`corpus/service.py` only ever grows: other teams' code was built against what service.json holds."""

import copy
import json

import pytest

from tests.contract.service_snapshot import FILE, breaks, current

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


def test_nothing_is_taken_away() -> None:
    assert not breaks(RECORDED, current()), (
        "only additions are allowed; a change of meaning is a new service name"
    )


def test_additions_are_recorded() -> None:
    assert current() == RECORDED, "run: python -m tests.contract.service_snapshot"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("types", "SearchHit", "uri"), None, "types: SearchHit.uri is gone"),
        (("types", "SearchHit", "uri"), ["str", "required"], "types: SearchHit.uri was"),
        (
            ("types", "SearchHit", "brand_new"),
            ["str", "required"],
            "types: SearchHit.brand_new is new and has no default",
        ),
        (("types", "SearchHit", "harmless"), ["str", "''"], ""),
        (
            ("services", "freshet.corpus.v1", "search"),
            None,
            "services: freshet.corpus.v1.search is gone",
        ),
        (("enums", "Why", "TIMEOUT"), None, "enums: Why.TIMEOUT is gone"),
        (("constants", "MAX_HITS"), 10, "constants: MAX_HITS was 100, is 10"),
    ],
)
def test_what_counts_as_a_break(path: tuple[str, ...], value: object, says: str) -> None:
    changed = copy.deepcopy(RECORDED)
    *above, name = path
    place = changed
    for step in above:
        place = place[step]
    if value is None:
        del place[name]
    else:
        place[name] = value
    found = "; ".join(breaks(RECORDED, changed))
    assert found.startswith(says) if says else not found
