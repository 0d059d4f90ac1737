"""The check of `freshet doctor` on the models of the sources: is each what it was when its vectors were made?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.rows import class_row, namedtuple_row

from compose.local.checks import Check, CheckFailedError
from corpus.embed.spec import EmbeddingSpec
from corpus.source import SourceSpec

_SHOWN_DIGITS = 12  # of a revision or a digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedWeights:
    """The weights that made vectors of visible chunks (query `weights_in_use`)."""

    model: str
    prefix: str
    context: str
    weights: str

    def differs_from(self, spec: EmbeddingSpec) -> bool:
        """Whether they are others under the same name."""
        own = (self.model, self.prefix, self.context)
        has_name = own == (spec.model, spec.prefix, spec.context)
        return has_name and self.weights != spec.weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A source's model as its files are now."""

    source: str
    spec: EmbeddingSpec
    is_pinned: bool

    @property
    def pin(self) -> str:
        """What is to be set, so that it stays what it is."""
        return f'{self.source}: model = "{self.spec.model}@{self.spec.weights}"'


def judge_models(models: Sequence[SourceModel], used: Sequence[UsedWeights]) -> str:
    """What doctor says of the models.

    Raises:
        CheckFailedError: the weights under a name are not those that made vectors of visible chunks.
    """
    changed = [text for model in models for text in _changes(model, used)]
    if changed:
        raise CheckFailedError("; ".join(changed))
    loose = [model.pin for model in models if not model.is_pinned]
    if loose:
        pins = "; ".join(loose)
        return f"warning: a hub may change a model without a revision; set {pins}"
    names = {f"{model.spec.model} {_short(model.spec.weights)}" for model in models}
    return ", ".join(sorted(names)) or "no source yet"


def _changes(model: SourceModel, used: Sequence[UsedWeights]) -> Iterator[str]:
    """Other weights that made vectors under the model's name, one sentence each."""
    now = _short(model.spec.weights)
    for one in used:
        if one.differs_from(model.spec):
            yield (
                f"{model.source}: {model.spec.model} has the weights {now}; visible chunks have vectors of "
                f"{_short(one.weights)}, with which no query is compared"
            )


def _short(weights: str) -> str:
    return weights[:_SHOWN_DIGITS]


def _observe(home: Path) -> str:
    from corpus.database import connect, database_errors_translated, fetch_all
    from corpus.source import read_specs
    from corpus.sql import query
    from workers.config.settings import load

    url = load(home).database_url
    with (
        connect(url, application="freshet-doctor") as connection,
        database_errors_translated(),
    ):
        used = fetch_all(connection, class_row(UsedWeights), "weights_in_use")
        cursor = connection.cursor(row_factory=namedtuple_row)
        cursor.execute(query("search_spaces"), {"sources": None})
        rows: list[Any] = cursor.fetchall()
    specs = read_specs((row.source, row.spec) for row in rows).specs
    return judge_models([_source_model(spec) for spec in specs.values()], used)


def _source_model(spec: SourceSpec) -> SourceModel:
    from corpus.embed.model_files import is_pinned, read_embedding_spec

    return SourceModel(
        source=spec.source,
        spec=read_embedding_spec(spec.model, spec.prefix, spec.context),
        is_pinned=is_pinned(spec.model),
    )


MODELS_CHECK = Check(
    "models",
    _observe,
    'give the weights back that made the vectors (`model = "NAME@REVISION"`, or the folder of before), or let the '
    "documents be prepared again with those of today: `freshet source prepare NAME`",
)
