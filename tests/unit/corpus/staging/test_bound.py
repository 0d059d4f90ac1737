"""References are bound to their source and their records; what is forged is refused before a file is opened."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.batch import BatchRef, StagedFile
from corpus.errors import StagedFileError
from corpus.staging.bound import MAX_STAGED_BYTES, check_batch_file, check_refs, problem_of
from corpus.staging.layout import batch_file_name, events_name
from tests.support.orders import DIGEST, make_ref

REF = make_ref(4, 9)
FORGED: dict[str, dict[str, Any]] = {
    "a way out": {"url": "events/s/t/0/../../../../etc/passwd"},
    "an encoded way out": {"url": REF.url.replace("/t/", "/%2e%2e/")},
    "an absolute path": {"url": "/etc/passwd"},
    "another scheme": {"url": "s3://bucket/" + REF.url},
    "a folder": {"url": "events/s/t/0"},
    "no file": {"url": ""},
    "a NUL": {"url": REF.url + "\0"},
    "another source's file": {"url": REF.url.replace("/s/", "/other/")},
    "another source": {"source": "other", "url": REF.url.replace("/s/", "/other/")},
    "another topic": {"topic": "other"},
    "a topic that leads out": {"topic": "..", "url": REF.url.replace("/t/", "/../")},
    "a topic of two parts": {"topic": "t/u", "url": REF.url.replace("/t/", "/t/u/")},
    "another partition": {"partition": 1},
    "a longer range": {"next_offset": 99},
    "an earlier range": {"first_offset": 0},
    "an empty range": {"next_offset": 4},
    "a negative offset": {"first_offset": -1},
    "an offset that no database holds": {"next_offset": 2**63},
    "more records than offsets": {"records": 6},
    "no records": {"records": 0},
    "values of gigabytes": {"staged_bytes": MAX_STAGED_BYTES + 1},
    "another checksum": {"sha256": "1" * 64},
    "no checksum": {"sha256": ""},
    "a checksum that is a path": {"sha256": "../" + DIGEST},
    "a partition that no topic has": {"partition": 2**31},
    "a time that no calendar has": {"staged_at_ms": -1},
    "a long id": {"topic_id": "x" * 1_000_000},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_reference_is_refused_by_name(forged: dict[str, Any]) -> None:
    ref = replace(REF, **forged)
    problem = problem_of(ref, "s")
    assert problem
    assert len(problem) < 400
    with pytest.raises(StagedFileError, match="a reference to source 's'"):
        check_refs([REF, ref], "s")


@given(
    topic=st.text("aZ09._-", min_size=3, max_size=249).filter(lambda name: name.strip(".")),
    partition=st.integers(0, 2**31 - 1),
    first=st.integers(0, 2**62),
    length=st.integers(1, 10_000),
    digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
def test_what_a_consumer_makes_is_bound(
    topic: str, partition: int, first: int, length: int, digest: str
) -> None:
    ref = BatchRef(
        source="s",
        cluster_id="c",
        topic=topic,
        topic_id="i",
        partition=partition,
        first_offset=first,
        next_offset=first + length,
        records=length,
        staged_bytes=0,
        url=events_name("s", topic, partition, first, first + length, digest),
        sha256=digest,
        staged_at_ms=0,
    )
    assert problem_of(ref, "s") == ""
    assert problem_of(ref, "other") != ""


def test_a_file_of_another_batch_source_or_part_is_refused() -> None:
    file = StagedFile(
        url=batch_file_name("s", 7, "texts", DIGEST), sha256=DIGEST, rows=1, file_bytes=1
    )
    check_batch_file(file, "s", 7, "texts")
    for source, batch, part in (("t", 7, "texts"), ("s", 8, "texts"), ("s", 7, "chunks")):
        with pytest.raises(StagedFileError, match=f"no file of the {part} of batch {batch}"):
            check_batch_file(file, source, batch, part)
    for url in ("../secret", "/etc/passwd", file.url.replace("/s/", "/../s/")):
        with pytest.raises(StagedFileError, match="is no file of"):
            check_batch_file(replace(file, url=url), "s", 7, "texts")
