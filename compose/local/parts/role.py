"""Worker roles of the local stack: `python -m workers worker ROLE`."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compose.local.machine.process import ProcessId
from compose.local.parts.part import Part
from compose.local.parts.variables import inherited_by
from workers.roles.table import ROLES

__all__ = ["ROLES", "Role"]

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(kw_only=True)
class Role(Part):
    """One worker process, which writes a file when it is ready.

    Attributes:
        role: which of the roles; its name, unless it runs beside another process of the role.
        database: the variables by which it finds PostgreSQL.
    """

    role: str = ""
    database: dict[str, str] = field(default_factory=dict[str, str])
    grace_seconds: float = 30.0
    # The first load of the model reads gigabytes of libraries from a disk that has none of them cached.
    ready_seconds: float = 180.0

    def __post_init__(self) -> None:
        """Set what it inherits."""
        self.role = self.role or self.name
        self.inherits = inherited_by(self.role)

    @property
    def ready_file(self) -> Path:
        """The file to which the worker writes its pid when it is ready."""
        return self.home / "run" / f"{self.name}.ready"

    def prepare(self) -> None:
        """Remove the file of an earlier process."""
        self.ready_file.parent.mkdir(parents=True, exist_ok=True)
        self.ready_file.unlink(missing_ok=True)

    def command(self) -> Sequence[str]:
        """Return the command of the role."""
        return [sys.executable, "-m", "workers", "worker", self.role]

    def environment(self) -> dict[str, str]:
        """Return where the stack is, and which file to write when the worker is ready."""
        search_path = [str(_ROOT)]
        if os.environ.get("PYTHONPATH"):
            search_path.append(os.environ["PYTHONPATH"])
        python_path = os.pathsep.join(search_path)
        embedder_ready = self.home / "run" / "embedder.ready"
        return {
            **self.database,
            "FRESHET_HOME": str(self.home),
            "FRESHET_READY_FILE": str(self.ready_file),
            # If two roles load the model's libraries at once, the embedder takes half as long again.
            "FRESHET_PRELOAD_AFTER": str(embedder_ready),
            "PYTHONUNBUFFERED": "1",
            # The checkout is on the path in any working directory, also where Freshet is not installed.
            "PYTHONPATH": python_path,
        }

    def is_ready(self, process: ProcessId) -> bool:
        """Return whether this very process wrote the file."""
        try:
            return self.ready_file.read_text(encoding="utf-8").strip() == str(
                process.pid
            )
        except (OSError, UnicodeDecodeError):
            return False
