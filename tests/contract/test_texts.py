"""Texts that rot: links, paths, the table of settings, commands that documents name, hosts that no file may name."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from workers.config.settings import SETTINGS, Settings
from workers.readme import README as WORKERS_README
from workers.readme import with_tables

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    "ingest",
    "corpus",
    "freshness",
    "workers",
    "compose",
    "tests",
    "examples",
    ".ci",
    ".github",
)
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
)
# Package registries, in two halves so that this file does not name them either.
REGISTRIES = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".org",
    "crates" + ".io",
    "proxy.golang" + ".org",
    "repo1.maven" + ".org",
)
REGISTRIES += ("repo.maven" + ".apache.org", "index.docker" + ".io")
MAX_TEXT_BYTES = 2_000_000


def all_files() -> Iterator[Path]:
    """What a checkout holds, without what is installed and built."""
    for path in [
        *ROOT.iterdir(),
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")),
    ]:
        built = {"__pycache__", "node_modules"} & set(path.parts)
        if (
            path.is_file()
            and not built
            and path.name != "uv.lock"
            and path.stat().st_size < MAX_TEXT_BYTES
        ):
            yield path


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return re.sub(
        r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(document))
    files = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    broken = [target for target in files if target and not (document.parent / target).exists()]
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_paths_in_code_marks_exist(document: Path) -> None:
    """`corpus/embed/step.py` from the root, `embed.py` from the document's own folder."""
    named = re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|sql|md|toml|yaml|json))`", prose(document))
    made_at_run_time = {
        "stack.json",
        "installation.json",
        "ports.json",
        "wanted.json",
        "sources.json",
        "freshness.json",
        "faults.json",
        "sbom.json",
        "freshet.toml",
        "requirements.lock",
    }
    if document.parent == ROOT:  # speaks of files that every package has
        named = [name for name in named if "/" in name]
    here = (ROOT, document.parent)
    missing = [
        name
        for name in named
        if Path(name).name not in made_at_run_time
        and not any((folder / name).exists() for folder in here)
    ]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_tests_that_documents_name_exist(document: Path) -> None:
    """A promise without a test does not exist, nor does one whose test was renamed."""
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", document.read_text(encoding="utf-8"))
    assert [name for name in named if f"def {name}(" not in code] == []


def test_the_tables_of_roles_and_settings_are_current() -> None:
    text = WORKERS_README.read_text(encoding="utf-8")
    assert text == with_tables(text), "run: python -m workers.readme"


# Variables that one process of Freshet sets for another; they are not for people.
BETWEEN_PROCESSES = {
    "FRESHET_READY_FILE",
    "FRESHET_PART",
    "FRESHET_PRELOAD_AFTER",
    "FRESHET_DATA",
}


def code_files() -> dict[str, str]:
    return {
        name_of(path): path.read_text(encoding="utf-8")
        for folder in FOLDERS[:5]
        for path in (ROOT / folder).rglob("*.py")
    }


def test_every_setting_that_code_reads_is_declared() -> None:
    names = {setting.name for setting in SETTINGS}
    read = {
        name
        for text in code_files().values()
        for name in re.findall(r"\"(FRESHET_[A-Z_]+)\"", text)
    }
    assert read - BETWEEN_PROCESSES <= names, "declare it in workers/config/settings.py"


def test_every_setting_is_used() -> None:
    others = [text for name, text in code_files().items() if not name.endswith("settings.py")]
    for field in fields(Settings):
        used = (f".{field.name}", f"FRESHET_{field.name.upper()}")
        assert any(word in text for text in others for word in used), field.name


def test_no_file_names_a_package_registry() -> None:
    found = []
    for path in all_files():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{name_of(path)}: {host}" for host in REGISTRIES if host in text]
    assert not found


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_in_documents_exist(document: Path) -> None:
    from tests.support.commands import command_paths

    known = set(command_paths())
    text = document.read_text(encoding="utf-8")
    named = re.findall(
        r"(?:^|`)freshet ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", text, flags=re.MULTILINE
    )
    unknown = [words for words in named if words not in known and words.split()[0] not in known]
    assert not unknown
