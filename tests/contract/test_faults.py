"""The document of faults has a section per kind, and names what provokes it."""

import re
from pathlib import Path

import pytest

from tests.bench.faults.schedule import Kind

TEXT = (Path(__file__).resolve().parents[1] / "FAULTS.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## (?=\d+\. )", TEXT, flags=re.MULTILINE)[1:]
COUNT = 28


def test_no_section_is_missing() -> None:
    numbers = [int(section.partition(".")[0]) for section in SECTIONS]
    assert numbers == [*range(1, COUNT + 1)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.splitlines()[0])
def test_a_section_names_a_test_or_says_that_there_is_none(section: str) -> None:
    assert "Must hold: " in section
    assert re.search(r"`test_\w+`|`make faults`|not built yet", section)


def test_every_kind_of_make_faults_is_named_and_no_other() -> None:
    named = set(re.findall(r"(?<!\*)\*([a-z ]+)\*(?!\*)", TEXT)) - {"kinds"}
    assert named == {kind.value.removesuffix(" -9") for kind in Kind}
