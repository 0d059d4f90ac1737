"""What the access log keeps of a call: bounded, whoever wrote it."""

import json

from corpus.answer.gate import Decision
from corpus.service import SearchRequest
from workers.calls.asked import MAX_CHARACTERS
from workers.calls.log import entries_of

LONG = "x" * 1_000_000


def decision(request: SearchRequest, refused: str = "", namespace: str = "billing") -> Decision:
    return Decision(
        team="billing",
        namespaces=frozenset({namespace}),
        operation="search",
        request=request,
        granted=frozenset({"a"}),
        refused=refused,
    )


def test_texts_of_a_caller_are_cut() -> None:
    request = SearchRequest(
        query="q", mode=LONG, groups=(LONG,) * 200, sources=("a", *(f"{n}{LONG}" for n in range(3)))
    )
    entries = entries_of([decision(request), decision(request, LONG, LONG)])
    assert len(entries) == 3
    for entry in entries:
        assert len(json.dumps(entry.detail)) < 110 * (MAX_CHARACTERS + 10)


def test_the_row_of_a_granted_source_names_no_other() -> None:
    entries = entries_of([decision(SearchRequest(query="q", sources=("a", "hidden")))])
    rows = {entry.source: json.dumps(entry.detail) for entry in entries}
    assert "hidden" not in rows["a"]
    assert len(rows) == 2
