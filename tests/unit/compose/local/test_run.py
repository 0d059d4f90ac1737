"""One part for the length of a block."""

from pathlib import Path

import pytest

from compose.local.machine.process import marked
from compose.local.run import running
from corpus.errors import DependencyError
from tests.support.light_parts import LightPart
from tests.support.polling import wait_until


def test_a_part_runs_for_the_length_of_the_block(tmp_path: Path) -> None:
    with running(LightPart(home=tmp_path, name="part")) as process:
        assert process.alive()
        wait_until(lambda: [p.pid for p in marked(f"{tmp_path}|part")] == [process.pid], 5)
    assert not process.alive()
    assert list(marked(str(tmp_path))) == []


def test_a_block_that_fails_ends_its_part(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), running(LightPart(home=tmp_path, name="part")):
        raise ZeroDivisionError
    assert list(marked(str(tmp_path))) == []


def test_what_is_to_be_done_after_the_start_may_fail(tmp_path: Path) -> None:
    part = LightPart(home=tmp_path, name="part")

    def fail() -> None:
        raise DependencyError("no database")

    part.after_ready = fail  # type: ignore[method-assign]
    with pytest.raises(DependencyError, match="no database"), running(part):
        pass
    assert list(marked(str(tmp_path))) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo one; echo two; exit 3", r"part ended: one \| two"),
        ("exec sleep 600", "part was not ready in time: $"),
    ],
)
def test_a_part_that_does_not_come_up_is_ended_and_quoted(
    tmp_path: Path, script: str, message: str
) -> None:
    part = LightPart(
        home=tmp_path, name="part", script=script, ready=lambda: False, ready_seconds=0.3
    )
    with pytest.raises(DependencyError, match=message), running(part):
        pass
    assert list(marked(str(tmp_path))) == []
