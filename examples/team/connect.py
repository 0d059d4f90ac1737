"""Where Temporal is: TEMPORAL_ADDRESS or a profile, else the address in the stack.json of a local stack."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.worker import Interceptor

from corpus.access.client import SignedCalls, opened_answers

TEAM = "team-search"
ENDPOINT = "freshet-team-search"
NAMESPACE = "team-search"
TASK_QUEUE = "team-search"


async def connect(stack: str | None = None) -> Client:
    """Connect to the team's namespace.

    Args:
        stack: path of a local stack's stack.json; None: FRESHET_HOME/stack.json.
    """
    configured = ClientConfig.load_client_connect_config()
    options: dict[str, Any] = dict(configured)
    if "target_host" not in options:
        default = home() / "stack.json"
        options["target_host"] = temporal_address(Path(stack or default))
    namespace = os.environ.get("TEMPORAL_NAMESPACE")
    options["namespace"] = namespace or NAMESPACE
    key_file = team_key()
    if key_file.exists():
        # Answers in plain are read as well: the operator says which they are.
        options["data_converter"] = opened_answers(TEAM, key_file, strict=False)
    return await Client.connect(**options)


def identity() -> list[Interceptor]:
    """What signs the team's calls. Without a key, notices arrive all the same, and the corpus answers no call."""
    key_file = team_key()
    if key_file.exists():
        return [SignedCalls(TEAM, key_file)]
    sys.stderr.write(f"no key in {key_file}: the corpus will answer no call\n")
    return []


def team_key() -> Path:
    """The key in FRESHET_TEAM_KEY; by default, that of a local stack."""
    default = home() / "team-keys" / f"{TEAM}.key"
    return Path(os.environ.get("FRESHET_TEAM_KEY") or default)


def home() -> Path:
    """Folder of the local stack."""
    if configured := os.environ.get("FRESHET_HOME"):
        return Path(configured)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "freshet"


def temporal_address(path: Path) -> str:
    """The address of Temporal that a local stack has written down."""
    if not path.exists():
        raise SystemExit(
            f"no Temporal address: set TEMPORAL_ADDRESS, or start a local stack ({path} does not exist)"
        )
    stack = json.loads(path.read_text(encoding="utf-8"))
    return stack["addresses"]["temporal_address"]
