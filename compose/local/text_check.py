"""The check of `freshet doctor` on texts: does each source's model know what the source sends?"""

from dataclasses import dataclass
from pathlib import Path

from psycopg.rows import class_row

from compose.local.checks import Check, CheckFailedError

_MAX_SOURCES = 5  # that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceText:
    """How a model reads a source's visible documents (query `unknown_text`)."""

    source: str
    model: str
    documents: int  # whose text is accounted for
    unknown: int  # of them, those above the ratio
    max_unknown_ratio: float
    unknown_ratio: float  # of all their characters
    tokens_per_character: float

    @property
    def is_unknown(self) -> bool:
        """Whether the model knows too little of too many documents."""
        return self.unknown > self.documents * self.max_unknown_ratio

    def describe(self) -> str:
        """One line for a person."""
        return (
            f"{self.source}: {self.unknown_ratio:.1%} of the characters unknown to {self.model}, in "
            f"{self.unknown:,} of {self.documents:,} documents more than {self.max_unknown_ratio:.0%}; "
            f"{self.tokens_per_character:.2f} tokens per character"
        )


def judge_texts(texts: list[SourceText]) -> str:
    """Describe the sources, those that the model knows least of first.

    Raises:
        CheckFailedError: a model knows too little of a source; the message names these sources.
    """
    unknown = [text for text in texts if text.is_unknown]
    if unknown:
        raise CheckFailedError(_described(unknown))
    return _described(texts) or "no document yet"


def _described(texts: list[SourceText]) -> str:
    ranked = sorted(texts, key=lambda text: text.unknown_ratio, reverse=True)
    lines = [text.describe() for text in ranked[:_MAX_SOURCES]]
    left_out = len(ranked) - len(lines)
    if left_out:
        lines.append(f"{left_out:,} more")
    return "; ".join(lines)


def _observe(home: Path) -> str:
    from corpus.database import connect, fetch_all
    from workers.config.settings import load

    with connect(load(home).database_url, application="freshet-doctor") as connection:
        return judge_texts(
            fetch_all(connection, class_row(SourceText), "unknown_text", {})
        )


TEXT_CHECK = Check(
    "unknown text",
    _observe,
    "`freshet documents --unknown` lists the documents; give the source a model that knows its languages (as a new "
    "source), or raise its pipeline.max_unknown_ratio",
)
