"""Alerts and dashboard name metrics that exist, and every alert has an entry in the runbook."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from workers.roles.table import ROLES

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "compose" / "dashboards"
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = ALERTS["groups"][0]["rules"]
BOARD = json.loads((FOLDER / "freshet.json").read_text(encoding="utf-8"))
RUNBOOK = (FOLDER / "README.md").read_text(encoding="utf-8")
# Of the Temporal SDK, as a role served them.
TEMPORAL = {
    "temporal_activity_execution_latency_seconds_bucket",
    "temporal_activity_schedule_to_start_latency_seconds_bucket",
    "temporal_activity_execution_failed_total",
    "temporal_worker_task_slots_used",
}


def expressions() -> list[str]:
    of_board = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return [*of_board, *(rule["expr"] for rule in RULES)]


def served() -> set[str]:
    """What the roles create, under the name that Prometheus sees."""
    code = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "workers" / "roles").glob("*.py")
    )
    created = re.findall(r'(?:create_|create)(\w*)\(\s*"(freshet_\w+)"', code)
    assert len(created) > 15
    return {name + _suffix(kind) for kind, name in created}


def _suffix(kind: str) -> str:
    """What the exporter appends to the name of an instrument."""
    if "gauge" in kind:
        return ""
    return "_bucket" if "histogram" in kind else "_total"


def test_every_metric_that_is_named_is_served() -> None:
    named = {
        name for text in expressions() for name in re.findall(r"\b(?:freshet|temporal)_\w+", text)
    }
    assert len(named) > 15
    # A histogram has three series.
    named = {re.sub("_(sum|count)$", "_bucket", name) for name in named}
    assert named - served() - TEMPORAL == set()


def test_every_metric_that_is_served_is_in_the_table() -> None:
    table = (ROOT / "workers" / "README.md").read_text(encoding="utf-8")
    shortened = {"freshet_characters_kept_total", "freshet_documents_empty_total"}
    assert {name for name in served() - shortened if f"`{name}`" not in table} == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    line, *_ = [line for line in RUNBOOK.splitlines() if line.startswith(f"| `{rule['alert']}` |")]
    _, _, meaning, command, _ = line.split("|")
    assert meaning.strip()
    assert "`freshet " in command or "model" in command or "find out" in command


def test_the_runbook_names_no_alert_that_is_gone() -> None:
    named = set(re.findall(r"^\| `(Freshet\w+)` \|", RUNBOOK, re.MULTILINE))
    assert named == {rule["alert"] for rule in RULES}


def test_one_target_per_role_in_their_order() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]
    assert targets == [f"{role}:{9400 + number}" for number, role in enumerate(ROLES)]


def test_panels_do_not_overlap_and_have_a_title() -> None:
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]}
    titles = {panel["title"] for panel in BOARD["panels"]}
    assert len(places) == len(titles) == len(BOARD["panels"])
