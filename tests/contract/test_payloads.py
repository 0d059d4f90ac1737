"""Every value that crosses Temporal survives it: each input and output of workflows, activities, signals, queries and
Nexus operations passes the data converter, plain and encrypted, and comes back equal. Nothing large is in it.
"""

import base64
import dataclasses
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from corpus.batch import BatchInput, BatchRef, Correct, Erase, Expire, Ingest, Order
from ingest.source_state import SourceState
from tests.support.orders import make_correction, make_erasure, make_expiry, make_ref
from tests.support.payloads import make, parts, payload_types
from workers.temporal.client import plain_converter
from workers.temporal.codec import EncryptionCodec
from workers.temporal.converter import _decoder

HISTORIES = Path(__file__).resolve().parents[1] / "replay" / "histories"
PAYLOADS = payload_types()
DATACLASSES = list(
    {
        part.__name__: part
        for part in (part for kind in PAYLOADS for part in parts(kind))
        if dataclasses.is_dataclass(part)
    }.values()
)
PLAIN = plain_converter()
CONVERTERS = {
    "plain": PLAIN,
    "encrypted": dataclasses.replace(
        PLAIN, payload_codec=EncryptionCodec({"test": bytes(range(32))})
    ),
}
ORDERS: dict[str, Order] = {
    "ingest": Ingest(refs=(make_ref(0, 10), make_ref(10, 20, epoch=3))),
    "expire": make_expiry(),
    "expire by the events' own instants": Expire(
        request_id="r", rule="expires_at", expire_after_seconds=None, max_ratio=0.5
    ),
    "correct": make_correction(),
    "erase": make_erasure(),
}


def test_the_types_are_collected() -> None:
    assert {
        "BatchInput",
        "BatchRef",
        "Expire",
        "SourceState",
        "PublishRequest",
        "BatchNotice",
        "FreshnessReport",
    } <= {kind.__name__ for kind in DATACLASSES}


@pytest.mark.parametrize("converter", CONVERTERS.values(), ids=CONVERTERS)
@pytest.mark.parametrize("full", [False, True], ids=["least", "full"])
@pytest.mark.parametrize("kind", PAYLOADS, ids=lambda kind: getattr(kind, "__name__", str(kind)))
async def test_it_comes_back_equal(kind: Any, full: bool, converter: DataConverter) -> None:
    value = make(kind, full=full)
    payloads = await converter.encode([value])
    assert await converter.decode(payloads, [kind]) == [value]


@pytest.mark.parametrize("full", [False, True], ids=["least", "full"])
@pytest.mark.parametrize("kind", PAYLOADS, ids=lambda kind: getattr(kind, "__name__", str(kind)))
async def test_the_wire_is_that_of_the_sdk(kind: Any, full: bool) -> None:
    """Teams, older workers and the histories of workflows that run have the SDK's own converter, or had it."""
    value = make(kind, full=full)
    [own] = await PLAIN.encode([value])
    [sdks] = await DataConverter.default.encode([value])
    assert own.metadata == sdks.metadata
    in_order = partial(json.loads, object_pairs_hook=list)
    assert in_order(own.data) == in_order(sdks.data)
    assert await DataConverter.default.decode([own], [kind]) == [value]
    assert await PLAIN.decode([sdks], [kind]) == [value]


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__name__)
async def test_what_was_read_with_defaults_is_written_whole(kind: Any) -> None:
    """An older version wrote no field that came later; whoever asks for the value as plain JSON looks for it."""
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    [payload] = await DataConverter.default.encode([make(kind, full=False)])
    old = {name: value for name, value in json.loads(payload.data).items() if name in required}
    payload.data = json.dumps(old).encode()
    for converter in (PLAIN, DataConverter.default):
        [value] = await converter.decode([payload], [kind])
        [written] = await PLAIN.encode([value])
        assert json.loads(written.data).keys() == {one.name for one in dataclasses.fields(kind)}


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__name__)
def test_no_type_takes_the_slow_way(kind: Any) -> None:
    """The SDK reads what has no decoder, and nothing would say so."""
    assert _decoder(kind) is not None


async def test_what_json_in_utf8_cannot_hold_is_sent_as_before() -> None:
    order = dataclasses.replace(make_correction(), reason="half \ud800")
    [payload] = await PLAIN.encode([order])
    [sdks] = await DataConverter.default.encode([order])
    assert payload.data == sdks.data
    assert await PLAIN.decode([payload], [Correct]) == [order]


async def test_a_value_of_another_type_is_refused_as_by_the_sdk() -> None:
    wrong = {**OLD_REF, "records": "one"}
    for converter in (PLAIN, DataConverter.default):
        payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(wrong).encode())
        with pytest.raises(TypeError, match="records"):
            await converter.decode([payload], [BatchRef])


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__name__)
def test_payloads_are_pointers_not_contents(kind: Any) -> None:
    assert bytes not in parts(kind), (
        "contents stay in the staging store and the database; carry a pointer"
    )


@pytest.mark.parametrize("kind", DATACLASSES, ids=lambda kind: kind.__name__)
def test_what_is_sent_does_not_change_afterwards(kind: Any) -> None:
    # The state of an entity is the one that its workflow keeps and changes.
    assert kind.__dataclass_params__.frozen or kind.__name__ == "SourceState"


# ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def decoded(kind: Any, value: Any) -> Any:
    """What the converter makes of JSON that another version wrote."""
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())
    [result] = await PLAIN.decode([payload], [kind])
    return result


def input_of(order: Order) -> BatchInput:
    return BatchInput.of(order, source="s", batch=7, first_in_line=False)


@pytest.mark.parametrize("converter", CONVERTERS.values(), ids=CONVERTERS)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
async def test_an_order_comes_back_equal(order: Order, converter: DataConverter) -> None:
    payloads = await converter.encode([input_of(order)])
    [batch] = await converter.decode(payloads, [BatchInput])
    assert batch == input_of(order)
    assert batch.order == order


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
async def test_an_order_is_sent_in_the_shape_that_older_workers_read(order: Order) -> None:
    [payload] = await PLAIN.encode([input_of(order)])
    fields: dict[str, Any] = dict.fromkeys(
        ("expire_documents", "correct_document", "erase_documents"), None
    )
    fields["refs"] = []
    match order:
        case Ingest():
            fields["refs"] = [dataclasses.asdict(ref) for ref in order.refs]
        case Expire():
            fields["expire_documents"] = dataclasses.asdict(order)
        case Correct():
            fields["correct_document"] = dataclasses.asdict(order)
        case Erase():
            fields["erase_documents"] = dataclasses.asdict(order)
    head = {"source": "s", "batch": 7, "first_in_line": False, "spec_revision": 0}
    assert json.loads(payload.data) == head | fields


OLD_REF = {
    "source": "s", "cluster_id": "c", "topic": "t", "topic_id": "i", "partition": 0, "first_offset": 5,
    "next_offset": 6, "records": 1, "staged_bytes": 100, "url": "0/5", "sha256": "", "staged_at_ms": 0,
}  # fmt: skip
OLD_EXPIRY = {
    "request_id": "r",
    "rule": "expire_after=1h",
    "expire_after_seconds": 3600,
    "max_ratio": 0.5,
}
OLD_BATCH = {"source": "s", "batch": 2, "first_in_line": True, "spec_revision": 0}


async def test_an_ingest_of_the_old_shape_decodes_to_that_order() -> None:
    batch = await decoded(BatchInput, {**OLD_BATCH, "refs": [OLD_REF], "expire_documents": None})
    old = dataclasses.replace(make_ref(5, 6), url="0/5", sha256="")
    assert batch.order == Ingest(refs=(old,))


async def test_an_expiry_of_the_old_shape_decodes_to_that_order() -> None:
    batch = await decoded(BatchInput, {**OLD_BATCH, "refs": [], "expire_documents": OLD_EXPIRY})
    assert batch.order == Expire(
        request_id="r", rule="expire_after=1h", expire_after_seconds=3600, max_ratio=0.5
    )


async def test_an_input_from_before_there_were_expiries_decodes() -> None:
    batch = await decoded(BatchInput, {**OLD_BATCH, "refs": [OLD_REF]})
    assert isinstance(batch.order, Ingest)


@pytest.mark.parametrize(
    "fields",
    [
        {"refs": [OLD_REF], "expire_documents": OLD_EXPIRY},
        {"refs": [], "expire_documents": None},
        {"refs": []},
    ],
    ids=["both", "neither", "nothing"],
)
async def test_an_input_without_exactly_one_order_is_refused(fields: dict[str, Any]) -> None:
    """To choose one of two would lose events without a word."""
    with pytest.raises(Exception, match="orders instead of one"):
        await decoded(BatchInput, {**OLD_BATCH, **fields})


def recorded_inputs() -> Iterator[Any]:
    """Every BatchInput in the recorded histories, as JSON."""
    for path in sorted(HISTORIES.glob("*.json")):
        for payload in payloads_in(json.loads(path.read_text(encoding="utf-8"))):
            value = json.loads(base64.b64decode(payload))
            if isinstance(value, dict) and "first_in_line" in value:
                yield value


def payloads_in(history: Any) -> Iterator[str]:
    """The data of every payload, wherever in the history it is."""
    if isinstance(history, dict) and isinstance(history.get("data"), str):
        yield history["data"]
    elif isinstance(history, dict | list):
        children = history.values() if isinstance(history, dict) else history
        for child in children:
            yield from payloads_in(child)


async def test_every_recorded_batch_has_an_order() -> None:
    orders = [(await decoded(BatchInput, value)).order for value in recorded_inputs()]
    assert {type(order) for order in orders} == {Ingest, Expire, Erase}


async def test_a_state_that_an_older_run_continues_with_decodes() -> None:
    """It has a field that is derived now, and lacks what came later."""
    old = {
        "source": "s", "max_records": 10, "max_bytes": 20, "max_in_flight": 2, "loaded": True, "next_batch": 9,
        "budget_bytes": 30, "epoch": 1, "paused": True, "halted": "a gap", "rewinds": 2, "pending": [OLD_REF],
        "in_flight": [], "expiries": [OLD_EXPIRY], "ends": {"t/i/0": 6}, "expiry_requests": ["r"],
        "repeated": 4, "published": 8,
    }  # fmt: skip
    state = await decoded(SourceState, old)
    assert state.pending == [BatchRef(**OLD_REF)]
    assert state.expiries == [Expire(**OLD_EXPIRY)]
    assert (state.next_batch, state.epoch, state.stuck) == (9, 1, {})
    assert state.furthest == {"t/i/0": 6}
