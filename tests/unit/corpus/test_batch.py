"""States and orders of a batch."""

import dataclasses
import re
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import batch as module
from corpus.batch import (
    BatchInput,
    BatchKind,
    BatchState,
    Correct,
    Erase,
    Expire,
    Ingest,
    Order,
    batch_workflow_id,
    next_state,
    staged_refs,
)
from tests.support.orders import make_expiry, make_ref

INITIAL_MIGRATION = Path(module.__file__).parent / "sql" / "migrations" / "0001_initial.sql"
STATES = st.sampled_from(list(BatchState))

# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def drawn_transitions() -> set[tuple[BatchState, BatchState]]:
    """The transitions of the diagram in the module's docstring; `A, B ──why──► C` is one from each of A and B."""
    assert module.__doc__ is not None
    transitions = set()
    for line in module.__doc__.splitlines():
        names = re.split(r" ──[^─►]+──► ", line.strip())
        for sources, target in pairwise(names):
            for source in sources.split(", "):
                transitions.add((BatchState[source], BatchState[target]))
    return transitions


def possible(current: BatchState, wanted: BatchState) -> bool:
    try:
        next_state(current, wanted)
    except ValueError:
        return False
    return True


def test_the_diagram_and_the_table_agree() -> None:
    pairs = product(BatchState, BatchState)
    table = {(current, wanted) for current, wanted in pairs if possible(current, wanted)}
    assert table == drawn_transitions()
    assert len(table) == 7


@given(STATES, STATES)
def test_a_transition_is_the_wanted_state_or_an_error_that_names_both(
    current: BatchState, wanted: BatchState
) -> None:
    if (current, wanted) in drawn_transitions():
        assert next_state(current, wanted) is wanted
        return
    with pytest.raises(ValueError, match=f"from {current} to {wanted}"):
        next_state(current, wanted)


@given(st.lists(STATES, max_size=12))
def test_every_walk_reaches_published_through_embedded_and_then_ends(
    walk: list[BatchState],
) -> None:
    visited = [BatchState.STAGED]
    for wanted in walk:
        if possible(visited[-1], wanted):
            visited.append(next_state(visited[-1], wanted))
    for before, after in pairwise(visited):
        assert before not in {BatchState.PUBLISHED, BatchState.REJECTED}
        if after is BatchState.PUBLISHED:
            assert before is BatchState.EMBEDDED
        if after is BatchState.EMBEDDED:
            assert before is BatchState.PREPARED


@pytest.mark.parametrize("state", list(BatchState))
def test_a_batch_can_be_given_up_until_it_is_published(state: BatchState) -> None:
    ended = state in {BatchState.PUBLISHED, BatchState.REJECTED}
    assert possible(state, BatchState.REJECTED) is not ended


def test_an_error_names_where_it_could_go() -> None:
    with pytest.raises(ValueError, match="it goes to prepared, rejected"):
        next_state(BatchState.STAGED, BatchState.PUBLISHED)
    with pytest.raises(ValueError, match="it goes to no other state"):
        next_state(BatchState.PUBLISHED, BatchState.STAGED)


def ledger_values(column: str) -> set[str]:
    """What the ledger's schema allows in a column."""
    table = INITIAL_MIGRATION.read_text(encoding="utf-8").split("CREATE TABLE freshet.batch (")[1]
    check = re.search(rf"{column}\s+text NOT NULL CHECK \({column} IN \(([^)]*)\)", table)
    assert check is not None
    return set(re.findall(r"'(\w+)'", check[1]))


def test_the_ledger_accepts_the_kinds_and_the_states_in_which_a_batch_ends() -> None:
    kinds = {kind.value for kind in BatchKind}
    assert ledger_values("kind") | {"correction", "backfill"} == kinds  # of later migrations
    assert {BatchState.PUBLISHED, BatchState.REJECTED} <= ledger_values("state")


# ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────────────

refs = st.builds(
    lambda first, length, partition: make_ref(first, first + length, partition=partition),
    st.integers(0, 2**40),
    st.integers(1, 5_000),
    st.integers(0, 9),
)
orders: st.SearchStrategy[Order] = st.one_of(
    st.builds(lambda taken: Ingest(refs=tuple(taken)), st.lists(refs, min_size=1, max_size=5)),
    st.builds(
        Expire,
        request_id=st.text(),
        rule=st.text(),
        expire_after_seconds=st.none() | st.integers(0, 10**9),
        max_ratio=st.floats(0, 1),
    ),
    st.builds(
        Correct,
        document_id=st.text(),
        old_version=st.integers(1, 2**63 - 1),
        new_version=st.integers(0, 2**40),
        reason=st.text(),
        requested_by=st.text(),
    ),
    st.builds(Erase, erasure=st.uuids().map(str)),
)


@given(orders, st.integers(1), st.booleans())
def test_an_input_gives_back_the_order_that_it_was_built_from(
    order: Order, number: int, first: bool
) -> None:
    batch = BatchInput.of(order, source="s", batch=number, first_in_line=first)
    assert batch.order == order
    assert type(batch.order) is type(order)
    assert (batch.source, batch.batch, batch.first_in_line) == ("s", number, first)


@given(orders)
def test_only_an_ingest_uses_up_staged_events(order: Order) -> None:
    expected = order.refs if isinstance(order, Ingest) else ()
    assert staged_refs(order) == expected


def test_an_input_holds_exactly_one_order() -> None:
    batch = BatchInput.of(make_expiry(), source="s", batch=1, first_in_line=True)
    with pytest.raises(ValueError, match="holds 2 orders"):
        dataclasses.replace(batch, refs=(make_ref(0, 1),))
    with pytest.raises(ValueError, match="batch 1 of source 's' holds 0 orders"):
        dataclasses.replace(batch, expire_documents=None)


def test_an_order_to_ingest_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one reference"):
        Ingest(refs=())


def test_a_batch_has_one_workflow_id() -> None:
    assert batch_workflow_id("peps", 12) == "batch:peps:12"
