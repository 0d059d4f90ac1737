"""Erasing and dead letters that cannot be read: those of the document go, those of others stay and are told of."""

import pytest

from corpus.erase.plan import plan_erasure
from corpus.errors import ConfigurationError
from ingest.event import KafkaRecord
from tests.service.test_erasure import replay
from tests.support.pipeline import NOW_MS, Pipeline

OWN = (b'{"id": 7, "op": [', b'{"op": [], "id" : "7"', b'["7", "see"')
OF_KEY = KafkaRecord(
    topic="", partition=0, offset=0, timestamp_ms=NOW_MS, key=b'\x00"7"\xff', value=b"{"
)
OTHERS = (
    b'{"id": "8", "op": [], "see_also": "7"',
    b'{"id": 8, "parent": {"id": "7"',
    b'{"note": 7, "text": ',
)
ALIEN = b'{"id": 17, "op": ['


def kept(pipeline: Pipeline) -> dict[bytes, int]:
    rows = pipeline.connection.execute("SELECT value, dead_letter FROM freshet.dead_letter")
    return dict(rows.fetchall())


def test_a_dead_letter_goes_with_the_document_that_it_is_of(pipeline: Pipeline) -> None:
    records = pipeline.records([*OWN, OF_KEY, *OTHERS, ALIEN])
    pipeline.run(pipeline.stage(records))
    before = kept(pipeline)
    assert len(before) == len(records)
    mentioned = sorted(before[value] for value in OTHERS)

    plan, _ = plan_erasure(pipeline.connection, "s", ["7"])
    assert (plan.dead_letters, plan.mentioned_in) == (len(OWN) + 1, tuple(mentioned))
    assert any("3 dead letters that cannot be read mention" in line for line in plan.lines())
    pipeline.erase("7")
    assert kept(pipeline).keys() == {*OTHERS, ALIEN}
    [[receipt]] = pipeline.connection.execute("SELECT receipt FROM freshet.erasure").fetchall()
    assert receipt["removed"]["dead_letters"] == len(OWN) + 1
    assert receipt["mentioned_in_dead_letters"] == mentioned
    again = replay(pipeline, records)
    assert (again.ignored, again.dead_lettered) == (len(OWN) + 1, len(OTHERS) + 1)
    assert kept(pipeline).keys() == {*OTHERS, ALIEN}


def test_a_person_chooses_those_that_mention_it(pipeline: Pipeline) -> None:
    records = pipeline.records([*OTHERS, ALIEN])
    pipeline.run(pipeline.stage(records))
    letters = kept(pipeline)
    chosen = letters[OTHERS[0]]
    plan, _ = plan_erasure(pipeline.connection, "s", ["7"], [chosen])
    assert (plan.dead_letters, plan.chosen, len(plan.mentioned_in)) == (1, (chosen,), 2)
    with pytest.raises(ConfigurationError, match="none that cannot be read and mentions"):
        plan_erasure(pipeline.connection, "s", ["7"], [letters[ALIEN]])
    pipeline.carry_out(pipeline.order_erasure("7", dead_letters=[chosen]))
    assert kept(pipeline).keys() == {*OTHERS[1:], ALIEN}
    again = replay(pipeline, records)
    assert (again.ignored, again.dead_lettered) == (1, 3)
    assert kept(pipeline).keys() == {*OTHERS[1:], ALIEN}
