"""A model that hangs ends its process."""

import pytest

from workers.roles import embedder


async def test_a_model_that_hangs_ends_the_process_so_that_another_one_tries(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []

    class EndedError(Exception):
        pass

    def end(code: int) -> None:
        ended.append(code)
        raise EndedError

    monkeypatch.setattr(embedder.os, "_exit", end)
    monkeypatch.setattr(embedder, "_LOOK_SECONDS", 0.0)
    silences = iter([0, 30, embedder.MAX_SILENT_SECONDS, embedder.MAX_SILENT_SECONDS + 1])
    with pytest.raises(EndedError):
        await embedder.end_when_silent(lambda: next(silences))
    assert (ended, list(silences)) == ([1], [])
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
