"""What `apply` refuses, and what it leaves alone: subscriptions and sources that the file does not name go on."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.sql import query
from workers.apply import preview, subscriptions
from workers.apply.plan import Verb, plan
from workers.config.file import parse

TEAM = '[source.a]\n[source.b]\n[subscriber.team]\nsources = ["a"]\nendpoint = "team"\nnamespace = "team"\ntask_queue = "q"\n'


class Database:
    """Answers named queries, and remembers which were asked."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = {query(name): rows for name, rows in answers.items()}
        self.asked: list[str] = []

    def execute(self, text: str, _values: Any = None) -> Any:
        self.asked.append(text)
        rows = self._answers.get(text, [])
        return SimpleNamespace(fetchall=lambda: rows, fetchone=lambda: rows[0] if rows else None)

    @contextmanager
    def transaction(self) -> Any:
        yield

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def planned(
    text: str, *going_on: SourceSpec, prune: bool = False, filled: tuple[str, ...] = ()
) -> list[tuple[str, str, str]]:
    database: Any = Database(
        sources_configured=[(spec.source, spec.to_json(), 1, "active", None) for spec in going_on],
        active_sources=[(spec.source, spec.to_json()) for spec in going_on],
        text_search_languages=[("english",), ("simple",)],
        sources_with_documents=[(source,) for source in filled],
    )
    cluster: Any = SimpleNamespace(topics=lambda _: {})
    return [
        (change.kind, change.name, change.change)
        for change in plan(database, cluster, parse(text), prune=prune)
    ]


def test_a_language_that_postgresql_lacks_is_refused() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"source\.a\.text_search_language = 'klingon' .*it has english, simple",
    ):
        planned('[source.a]\ntext_search_language = "klingon"')
    assert ("source", "a", Verb.CREATE) in planned('[source.a]\ntext_search_language = "simple"')


@pytest.mark.parametrize(
    "line", ['model = "other"', 'prefix = "passage: "', 'text_search_language = "simple"']
)
def test_what_documents_were_made_with_stays_while_there_are_any(line: str) -> None:
    before = SourceSpec(source="a", topics=("a",))
    with pytest.raises(
        ConfigurationError, match=rf"source\.a\.{line.split()[0]} cannot change from .* to "
    ):
        planned(f"[source.a]\n{line}", before, filled=("a",))
    assert ("source", "a", Verb.CHANGE) in planned(f"[source.a]\n{line}", before, filled=("b",))
    assert ("source", "a", Verb.UNCHANGED) in planned("[source.a]", before, filled=("a",))


def test_a_loop_with_a_source_that_goes_on_is_refused() -> None:
    text, old = (
        '[source.a]\ntopics = ["old.dead-letters"]',
        SourceSpec(source="old", topics=("old",)),
    )
    with pytest.raises(
        ConfigurationError, match=r"go on .*source\.old\.dead_letter_topic = 'old\.dead-letters'"
    ):
        planned(text, old)
    assert ("source", "old", Verb.RETIRE) in planned(text, old, prune=True)


ROWS = [
    {"subscriber": "team", "source": "a", "endpoint": "old", "state": "active"},
    {"subscriber": "other", "source": "b", "endpoint": "other", "state": "active"},
    {"subscriber": "former", "source": "b", "endpoint": "former", "state": "ended"},
]


@pytest.mark.parametrize(("prune", "word"), [(False, Verb.UNLISTED), (True, Verb.END)])
def test_the_preview_tells_of_subscriptions(
    monkeypatch: pytest.MonkeyPatch, prune: bool, word: str
) -> None:
    monkeypatch.setattr(subscriptions, "subscriptions", lambda _: ROWS)
    changes = preview._subscriptions(Database(), parse(TEAM), prune=prune)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert [(change.name, change.change) for change in changes] == [
        ("team:a", Verb.CHANGE),
        ("other:b", word),
    ]
    assert changes[0].fields == (("endpoint", "old", "team"),)


@pytest.mark.parametrize(
    ("prune", "word", "ended"), [(False, "unlisted", []), (True, "ended", [("other", "b")])]
)
def test_a_subscription_that_is_not_in_the_file_goes_on(
    monkeypatch: pytest.MonkeyPatch, prune: bool, word: str, ended: list[tuple[str, str]]
) -> None:
    database = Database(upsert_subscription=[(True,)])
    monkeypatch.setattr(subscriptions, "subscriptions", lambda _: ROWS)
    monkeypatch.setattr(subscriptions, "connect", lambda *_, **__: database)
    wanted = [(spec, source) for spec in parse(TEAM).subscribers for source in spec.sources]
    changes, over = subscriptions._subscribe("", wanted, prune)
    assert [(change.name, change.change) for change in changes] == [
        ("team:a", "updated"),
        ("other:b", word),
    ]
    assert over == ended
    assert (query("end_subscription") in database.asked) is prune
