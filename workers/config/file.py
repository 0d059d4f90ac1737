"""`freshet.toml`: read, validated, and returned as the specifications of sources, subscribers, teams and spaces.

TOML, since an indentation cannot change its meaning, it has comments, and Python reads it without a further library.
A source is a table of its own, `[source.NAME]`: TOML refuses a name twice, and an error says `source.NAME.field`.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from corpus.access.team import TeamSpec
from corpus.deliver.subscription import SubscriberSpec
from corpus.embed.spec import SpaceChoice
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from workers.config.explain import explain
from workers.config.tables import ConfigFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says, as the rest of Freshet reads it."""

    sources: tuple[SourceSpec, ...]
    subscribers: tuple[SubscriberSpec, ...] = ()
    teams: tuple[TeamSpec, ...] = ()
    spaces: tuple[SpaceChoice, ...] = ()
    # By topic, for topics that are created.
    partitions: dict[str, int] = field(default_factory=dict[str, int])


def load(path: Path) -> Config:
    """Read and validate a file.

    Raises:
        ConfigurationError: it cannot be read or is wrong; the message names file, field, value and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors put U+FEFF first
    except (
        OSError,
        ValueError,
    ) as error:  # bytes that are not UTF-8, a path that holds U+0000
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str = "freshet.toml") -> Config:
    """Like `load`, from text; messages begin with `name`."""
    file = _validated(text, name)
    sources = file.sources()
    partitions = {
        topic: file.source[spec.source].partitions
        for spec in sources
        for topic in spec.topics
    }
    return Config(
        sources=sources,
        subscribers=file.subscribers(),
        teams=file.teams(),
        spaces=file.spaces(),
        partitions=partitions,
    )


def schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigFile.model_json_schema(),
    }


def _validated(text: str, name: str) -> ConfigFile:
    try:
        tables = tomllib.loads(text)
        return ConfigFile.model_validate(tables)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is not TOML: {error}") from error
    except ValidationError as error:
        explained = [explain(details) for details in error.errors()]
        errors = "; ".join(explained)
        raise ConfigurationError(f"{name}: {errors}") from error
    # A number of thousands of digits, a thousand brackets.
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{name} is not TOML that can be read: {error}"
        ) from error
