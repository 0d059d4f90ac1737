"""Models are loaded once, also when many ask at the same time; one that fails stops no other."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from tests.support.fake_rows import Database
from workers.roles import models
from workers.roles.models import LoadedModels, load_configured

SETTINGS: Any = type(
    "Settings",
    (),
    {
        "database_url": "",
        "device": "cpu",
        "precision": "fp32",
        "embed_backend": "torch",
        "embed_batch": 0,
        "embed_threads": 1,
        "rerank_model": "",
    },
)


class Embedder:
    made: list[tuple[str, str]] = []  # noqa: RUF012 - a record over all of them

    def __init__(self, model: str, *, prefix: str, **_: Any) -> None:
        time.sleep(0.01)  # long enough for a second one to begin
        self.made.append((model, prefix))
        if model == "broken":
            raise ConfigurationError("no such model")


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    monkeypatch.setattr(models, "SentenceTransformerEmbedder", Embedder)
    monkeypatch.setattr(Embedder, "made", [])
    return Embedder.made


def test_each_is_loaded_once(made: list[tuple[str, str]]) -> None:
    loaded = LoadedModels(SETTINGS)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: loaded.of("a"), range(32)))
    assert len({id(each) for each in found}) == 1
    assert loaded.of("a", "query: ") is not loaded.of("a")
    assert made == [("a", ""), ("a", "query: ")]


def test_one_that_failed_is_tried_again() -> None:
    loaded = LoadedModels(SETTINGS)
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            loaded.of("broken")
    assert Embedder.made == [("broken", "")] * 2


def configured(monkeypatch: pytest.MonkeyPatch, *specs: SourceSpec) -> None:
    rows = [{"source": spec.source, "spec": spec.to_json()} for spec in specs]

    class Connection(Database):
        def __enter__(self) -> "Connection":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(models, "connect", lambda _: Connection(search_spaces=rows))


def test_the_models_of_the_sources_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
    made: list[tuple[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    specs = [("x", "m", ""), ("y", "broken", ""), ("z", "m", ""), ("w", "m", "p")]
    configured(
        monkeypatch,
        *(
            SourceSpec(source=source, topics=("t",), model=model, prefix=prefix)
            for source, model, prefix in specs
        ),
    )
    load_configured(SETTINGS, LoadedModels(SETTINGS))
    assert made == [("broken", ""), ("m", ""), ("m", "p")]
    (record,) = caplog.records
    assert record.getMessage() == "model not loaded"
    assert record.__dict__["action"] == "model_not_loaded"
    assert record.__dict__["model"] == "broken"


def test_without_a_source_the_default_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, made: list[tuple[str, str]]
) -> None:
    configured(monkeypatch)
    load_configured(SETTINGS, LoadedModels(SETTINGS))
    assert made == [(SourceSpec(source="d", topics=("t",)).model, "")]


class Reranker:
    made: list[str] = []  # noqa: RUF012 - a record over all of them

    def __init__(self, model: str, **_: Any) -> None:
        time.sleep(0.01)
        self.made.append(model)
        if model == "broken":
            raise ConfigurationError("no such model")


def with_reranker(monkeypatch: pytest.MonkeyPatch, model: str) -> Any:
    monkeypatch.setattr(models, "CrossEncoderReranker", Reranker)
    monkeypatch.setattr(Reranker, "made", [])
    return type("Settings", (SETTINGS,), {"rerank_model": model})


def test_the_reranker_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = LoadedModels(with_reranker(monkeypatch, "a"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: loaded.reranker(), range(32)))
    assert len({id(each) for each in found}) == 1
    assert Reranker.made == ["a"]


def test_a_reranker_that_failed_is_not_loaded_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = LoadedModels(with_reranker(monkeypatch, "broken"))
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="no such model"):
            loaded.reranker()
    assert Reranker.made == ["broken"]
    monkeypatch.setattr(models, "_TRIED_AGAIN_SECONDS", 0.0)
    loaded = LoadedModels(with_reranker(monkeypatch, "broken"))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="no such model"):
            loaded.reranker()
    assert Reranker.made == ["broken"] * 2


def test_without_a_reranker_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="FRESHET_RERANK_MODEL"):
        LoadedModels(with_reranker(monkeypatch, "")).reranker()
    assert Reranker.made == []


@pytest.mark.parametrize(("for_teams", "made"), [(True, ["broken"]), (False, [])])
def test_only_who_answers_teams_loads_the_reranker_first(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    for_teams: bool,
    made: list[str],
) -> None:
    configured(monkeypatch)
    monkeypatch.setattr(models, "reader_of_all_teams", lambda _: None)
    monkeypatch.setattr(models, "reading_as", lambda *_: nullcontext())
    settings = with_reranker(monkeypatch, "broken")
    load_configured(settings, LoadedModels(settings), for_teams=for_teams)
    assert Reranker.made == made
    assert [record.__dict__["model"] for record in caplog.records] == made
