"""The table of roles: what each module runs is what its line says."""

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from compose.local.parts.role import ROLES as PARTS
from corpus import task_queues
from workers.roles import orchestrator
from workers.roles.table import ROLES, Role

FOLDER = Path(__file__).resolve().parents[4] / "workers" / "roles"


def test_operators_know_these_names() -> None:
    names = ["consumer", "orchestrator", "preparer", "embedder", "storer", "gateway"]
    assert list(ROLES) == names
    assert list(PARTS) == names


def test_every_queue_has_one_role() -> None:
    queues = [queue for role in ROLES.values() for queue in role.queues]
    named = [value for name, value in vars(task_queues).items() if name.isupper()]
    assert sorted(queues) == sorted(named)


@pytest.mark.parametrize("role", ROLES.values(), ids=list(ROLES))
def test_a_role_is_a_module_that_runs(role: Role) -> None:
    module = import_module(role.module)
    assert inspect.iscoroutinefunction(module.run)
    assert list(inspect.signature(module.run).parameters) == ["settings"]
    text = inspect.getsource(module)
    queues = {getattr(task_queues, name) for name in re.findall(r"task_queues\.([A-Z_]+)", text)}
    assert queues == set(role.queues)


def test_every_module_of_a_role_is_in_the_table() -> None:
    """A file with `async def run(settings` runs a role."""
    runs = {
        path.stem
        for path in FOLDER.glob("*.py")
        if "\nasync def run(settings" in path.read_text(encoding="utf-8")
    }
    assert runs == set(ROLES)


def test_the_table_is_light() -> None:
    """The command line and the local stack read it; the libraries of the roles stay outside."""
    heavy = "{'polars', 'torch', 'psycopg', 'confluent_kafka', 'temporalio', 'pydantic'}"
    code = f"import sys, workers.roles.table; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=FOLDER.parents[1],
    )
    assert done.stdout.strip() == "[]"


def test_workflows_have_names_of_their_own() -> None:
    names = [workflow.__name__ for workflow in orchestrator.WORKFLOWS]
    assert len(set(names)) == len(names) == 8
