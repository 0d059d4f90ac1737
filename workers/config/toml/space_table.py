"""[space.NAME] of `freshet.toml`: how the vectors of an embedding space are kept."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from corpus.embed.spec import SpaceChoice
from corpus.source import SourceSpec
from workers.config.table import Table

_SOURCE: Any = SourceSpec(source="source", topics=("topic",))


class SpaceTable(Table):
    """[space.NAME]: how vectors of sources with this model, prefix and context are kept; without it, as they are."""

    model: Annotated[str, Field(min_length=1)] = Field(
        default=_SOURCE.model, description="As of the sources."
    )
    prefix: str = Field(default=_SOURCE.prefix, description="As of the sources.")
    context: Literal["none", "headings"] = Field(
        default=_SOURCE.context, description="As of the sources."
    )
    vectors: Literal["full", "half_index", "half"] = Field(
        description="Numbers of 32 bits (full), of 16 in the index (half_index), or of 16 in the index and in the "
        "chunks (half), from which no way leads back to full; of a new space full, or half_index above 2,000 "
        "dimensions."
    )

    def choice(self, name: str) -> SpaceChoice:
        """As `freshet apply` reads it."""
        return SpaceChoice(
            name=name,
            model=self.model,
            prefix=self.prefix,
            context=self.context,
            vectors=self.vectors,
        )


def check(spaces: Sequence[SpaceChoice], sources: Sequence[SourceSpec]) -> None:
    """Refuse two tables of one space, and one of a space that no source has.

    Raises:
        ValueError: names the table.
    """
    used = {(source.model, source.prefix, source.context) for source in sources}
    named: dict[tuple[str, str, str], str] = {}
    for space in spaces:
        key = (space.model, space.prefix, space.context)
        if key not in used:
            raise ValueError(
                f"space.{space.name} is of model {space.model!r}, prefix {space.prefix!r} and context "
                f"{space.context!r}, which no source of this file has"
            )
        other = named.setdefault(key, space.name)
        if other != space.name:
            raise ValueError(
                f"space.{other} and space.{space.name} are one space: the same model, prefix and context; "
                "leave one of them out"
            )
