"""What every table of `freshet.toml` is."""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class Table(BaseModel):
    """A table of the file: no unknown keys, no text that the database cannot hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("the character U+0000 cannot be stored; leave it out")
        return value
