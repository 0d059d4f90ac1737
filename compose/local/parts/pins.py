"""What the local stack fetches, pinned: a file that is not the one that was tried is refused, whoever sent it."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from corpus.errors import DependencyError

# Of the module's source, which holds go.sum: the sums of all that it is built of. Later tags have other sums.
TEMPORAL_MODULE = "github.com/temporalio/cli"
TEMPORAL_VERSION = "v1.5.1"
TEMPORAL_SUM = "h1:0RZMk14BWxz44Xg6ciDQvpfAMffoG3J7/K03ql80teY="
REGISTRY_VERSION = "3.3.3"
# SHA-256 of the archive with Apicurio Registry, as Maven Central has it.
REGISTRY_ARCHIVE = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
# SHA-256 and name of each jar, as `sha256sum *.jar` writes them.
_KAFKA_JARS = Path(__file__).with_name("kafka.sha256")


@cache
def kafka_jars() -> Mapping[str, str]:
    """SHA-256 by name of each jar that Kafka runs with."""
    lines = _KAFKA_JARS.read_text(encoding="ascii").splitlines()
    pairs = (line.split() for line in lines)
    return {name: digest for digest, name in pairs}


def require_jars(folder: Path, pinned: Mapping[str, str]) -> None:
    """Refuse a folder that holds anything but the pinned jars.

    Raises:
        DependencyError: names what is missing, altered or added.
    """
    found = {path.name: path for path in folder.glob("*.jar")}
    missing = sorted(pinned.keys() - found.keys())
    added = sorted(found.keys() - pinned.keys())
    altered = [
        name
        for name, path in sorted(found.items())
        if name in pinned and _sha256(path) != pinned[name]
    ]
    problems = {"missing": missing, "altered": altered, "not known": added}
    named = [f"{what}: {', '.join(names)}" for what, names in problems.items() if names]
    if named:
        raise DependencyError(
            f"the jars in {folder} are not those that Freshet was made with ({'; '.join(named)}); "
            "remove the folder, so that they are fetched again, and check where they come from"
        )


def require_archive(path: Path) -> None:
    """Refuse an archive of the schema registry that is not the pinned one.

    Raises:
        DependencyError: it is another one.
    """
    found = _sha256(path)
    if found != REGISTRY_ARCHIVE:
        raise DependencyError(
            f"{path.name} has the SHA-256 {found}, and not {REGISTRY_ARCHIVE}: it is not run; "
            "check where it comes from"
        )


def require_temporal(module_sum: str) -> None:
    """Refuse a source of Temporal that is not the pinned one.

    Raises:
        DependencyError: it is another one.
    """
    if module_sum != TEMPORAL_SUM:
        raise DependencyError(
            f"{TEMPORAL_MODULE}@{TEMPORAL_VERSION} has the sum {module_sum!r}, and not {TEMPORAL_SUM!r}: it is not "
            "built; check GOPROXY, or put `temporal` on PATH"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
