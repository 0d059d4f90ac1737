"""Where Temporal is: TEMPORAL_ADDRESS or a profile, else the address in a local stack's stack.json."""

import json
import os
from pathlib import Path

from temporalio.client import Client
from temporalio.envconfig import ClientConfig

NAMESPACE = "team-search"
TASK_QUEUE = "team-search"


async def connect(stack: str | None = None) -> Client:
    """Connect to the team's namespace.

    Args:
        stack: path of a local stack's stack.json; default: FRESHET_HOME/stack.json.
    """
    config = dict(ClientConfig.load_client_connect_config())
    if "target_host" not in config:
        home = (
            os.environ.get("FRESHET_HOME")
            or Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
            / "freshet"
        )
        path = Path(stack) if stack else Path(home) / "stack.json"
        if not path.exists():
            raise SystemExit(
                f"no Temporal address: set TEMPORAL_ADDRESS, or start a local stack (there is no {path})"
            )
        config["target_host"] = json.loads(path.read_text(encoding="utf-8"))["addresses"][
            "temporal_address"
        ]
    config["namespace"] = os.environ.get("TEMPORAL_NAMESPACE") or NAMESPACE
    return await Client.connect(**config)  # type: ignore[arg-type]
