"""Worker roles of the local stack: `python -m workers worker ROLE`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compose.local.machine.process import ProcessId
from compose.local.parts.part import Part
from workers.roles.table import ROLES

__all__ = ["ROLES", "Role"]


@dataclass(kw_only=True)
class Role(Part):
    """One worker process; it says itself when it is ready."""

    grace_seconds: float = 30.0
    ready_seconds: float = (
        180.0  # the first load of the model reads gigabytes of libraries from a cold disk
    )

    @property
    def ready_file(self) -> Path:
        """Where it writes its pid when it is ready."""
        return self.home / "run" / f"{self.name}.ready"

    def prepare(self) -> None:
        """Forget an earlier process."""
        self.ready_file.parent.mkdir(parents=True, exist_ok=True)
        self.ready_file.unlink(missing_ok=True)

    def command(self) -> Sequence[str]:
        """The role."""
        return [sys.executable, "-m", "workers", "worker", self.name]

    def environment(self) -> dict[str, str]:
        """Where the stack is, and where to say that it is ready."""
        return {
            "FRESHET_HOME": str(self.home),
            "FRESHET_READY_FILE": str(self.ready_file),
            # Two loads of the model's libraries side by side take the embedder half as long again.
            "FRESHET_PRELOAD_AFTER": str(self.home / "run" / "embedder.ready"),
            "PYTHONUNBUFFERED": "1",
            # The checkout is on the path whatever the working directory, also where Freshet is not installed.
            "PYTHONPATH": os.pathsep.join(
                filter(
                    None,
                    [str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")],
                )
            ),
        }

    def is_ready(self, process: ProcessId) -> bool:
        """Whether this very process said so."""
        try:
            return self.ready_file.read_text(encoding="utf-8").strip() == str(process.pid)
        except OSError:
            return False
