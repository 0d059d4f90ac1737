"""Ports that are none are refused before anything is made, also where a stack runs already."""

from pathlib import Path

import pytest

from compose.local import commands as local
from corpus.errors import ConfigurationError


@pytest.mark.parametrize("port", [-5, 65_536, 99_999_999])
def test_what_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    home = tmp_path / "home"
    with pytest.raises(
        ConfigurationError, match=f"--kafka-port={port} is not a port from 1 to 65535"
    ):
        local.prepare_home(home, {"kafka": port})
    assert not home.exists()
