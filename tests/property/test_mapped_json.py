"""Any JSON with any mapping, in each format that has one: no record crashes, and no placeholder becomes a document."""

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import DebeziumSpec, DebeziumVersion, MappingSpec
from ingest.decode.decoder import decode
from ingest.decode.staged_content import read_row
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Undecodable
from tests.support.decoding import assert_is_storable, record

# `EXAMPLES=10000 pytest tests/property/test_mapped_json.py` tries that many.
EXAMPLES = int(os.environ.get("EXAMPLES", "150"))
PLACEHOLDER = "__debezium_unavailable_value"
FORMS = (
    PLACEHOLDER,
    base64.b64encode(PLACEHOLDER.encode()).decode(),
    [PLACEHOLDER],
    list(PLACEHOLDER.encode()),
    {PLACEHOLDER: PLACEHOLDER},
)
NAMES = ("a", "b", "c", "id", "payload", "aggregateid", "aggregatetype")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["2026-01-02T08:00:00Z", "text/html", "{}", '{"a": "b"}', "eA==", "\ud83d"]),
    st.sampled_from(FORMS),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    ),
    max_leaves=12,
)
ROWS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
PATHS = st.sampled_from(
    [
        *("a", "b", "c?", "id", "a.b", "payload.a", "a[0]", "a[*].b?", "a || b", "length(a)"),
        *("to_string(@)", "values(@)[?type(@) == 'string'] | [0]", "join(' ', [a, to_string(@)])"),
        *("keys(a)", "to_string(a)", "join(', ', a)", "a[?b == `1`] | [0]", "'text'", "header:h?"),
    ]
)
TEXTS = PATHS | st.sampled_from(["{a} {b?}", "{{{id}}}", "{payload.a}: {c?}"])
MAPPINGS = st.fixed_dictionaries(
    {"content": TEXTS},
    optional={
        **{name: TEXTS for name in ("id", "title", "uri")},
        **{name: PATHS for name in ("version", "content_type", "updated_at", "expires_at")},
        **{name: PATHS for name in ("acl", "language", "content_base64")},
        "deleted_when": PATHS.map(lambda path: (f"{path} = 1",)),
        "metadata": st.lists(st.sampled_from(["*", "a", "n = a.b", "c?"]), max_size=3).map(tuple),
    },
)
OPS = st.sampled_from(["c", "u", "r", "d", "t", "m", "x"])
KEYS = st.none() | st.binary(max_size=8) | ROWS.map(lambda row: json.dumps(row).encode())


def _enveloped(row: Any, before: Any, op: str, lsn: int) -> dict[str, Any]:
    return {"before": before, "after": row, "op": op, "source": {"lsn": lsn, "ts_ms": 5, "ord": 1}}


ENVELOPES = st.builds(_enveloped, ROWS, st.none() | ROWS, OPS, st.integers())
# A row in one of Debezium's forms, or in that of a CloudEvent; or anything else.
RECORDS = st.one_of(
    ROWS,
    ENVELOPES,
    ENVELOPES.map(lambda each: each | {"after": json.dumps(each["after"])}),
    ENVELOPES.map(lambda each: {"schema": {}, "payload": each}),
    ROWS.map(lambda row: row | {"__op": "u", "__deleted": "false"}),
    ROWS.map(lambda row: {**_EVENT, "data": row}),
    ENVELOPES.map(lambda each: {**_EVENT, "data": each, "iodebeziumop": each["op"]}),
    VALUES,
)
_EVENT = {"specversion": "1.0", "id": "e", "source": "/s", "type": "x.changed", "subject": "s"}


@pytest.mark.timeout(1_800 if EXAMPLES > 1_000 else 60)
@settings(deadline=None, max_examples=EXAMPLES)
@given(
    form=st.sampled_from(["json", "debezium", "cloudevents"]),
    paths=MAPPINGS,
    value=RECORDS,
    key=KEYS,
    version=st.sampled_from(DebeziumVersion.__args__),
    rule=st.sampled_from(VersionRule),
    is_escaped=st.booleans(),
)
def test_nothing_crashes_and_no_placeholder_is_a_document(
    form: Any,
    paths: dict[str, Any],
    value: Any,
    key: bytes | None,
    version: Any,
    rule: VersionRule,
    is_escaped: bool,
) -> None:
    spec = SourceSpec(
        source="s",
        topics=("t",),
        format=form,
        mapping=MappingSpec(**paths),
        version_rule=rule,
        debezium=DebeziumSpec(version=version),
    )
    written = json.dumps(value)
    if is_escaped:
        written = written.replace("_un", "\\u005fun").replace("ZQ==", "ZQ\\u003d=")
    sent = record(written.encode(), key=key, headers=(("h", b"1"),))
    decoded = decode(sent, spec)
    _assert_is_right(decoded)
    if isinstance(decoded, ChangeEvent) and decoded.unavailable:
        _assert_is_completed(sent, spec, decoded)


def _assert_is_right(decoded: Decoded) -> None:
    if isinstance(decoded, ChangeEvent | Undecodable):
        assert_is_storable(decoded)
    if isinstance(decoded, ChangeEvent):
        shown = [decoded.title, decoded.uri, decoded.content, decoded.stated_language]
        text = json.dumps([shown, decoded.metadata, decoded.acl], default=repr)
        assert PLACEHOLDER not in text
        assert FORMS[1] not in text


def _assert_is_completed(sent: KafkaRecord, spec: SourceSpec, event: ChangeEvent) -> None:
    """As a batch completes it, by the columns of an earlier version."""
    assert event.content is None
    known = dict.fromkeys(event.unavailable, "kept")
    read = read_row(spec, sent.key, sent.value or b"", "", known)
    assert PLACEHOLDER not in json.dumps(
        [str(read.content), read.values, read.columns], default=repr
    )
