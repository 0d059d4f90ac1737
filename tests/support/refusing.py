"""A configuration file that is refused."""

import pytest

from corpus.errors import ConfigurationError
from workers.config.file import parse


def refused(text: str) -> str:
    """The error of a file with this text; it is one line."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "my.toml")
    assert "\n" not in str(caught.value)
    return str(caught.value)
