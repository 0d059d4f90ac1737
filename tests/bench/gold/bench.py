"""Renders the manual with many templates, and measures Freshet beside trafilatura and resiliparse on the same pages.

The templates and the other extractors are installed into `build/bench/gold/venv`, apart from Freshet's environment.
`FRESHET_BASE=COMMIT` measures an older version of Freshet in the same run as well.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from statistics import mean
from typing import Any

from tests.bench.gold import httpd
from tests.bench.stack import ROOT
from tests.support.inputs import DATA

FOLDER = ROOT / "build" / "bench" / "gold"
REQUIREMENTS = [
    *("selectolax", "tinycss2", "trafilatura", "resiliparse"),
    *("sphinx", "furo", "sphinx-rtd-theme", "pydata-sphinx-theme", "sphinx-book-theme"),
    *("sphinx-bootstrap-theme", "piccolo-theme", "sphinx-wagtail-theme", "sphinx-material"),
    *("shibuya", "guzzle-sphinx-theme", "groundwork-sphinx-theme", "cloud-sptheme"),
    *("mkdocs", "mkdocs-material"),
]
EXTRACTORS = ("freshet", "trafilatura", "resiliparse")
GOAL, GOAL_PER_SITE = 0.97, 0.9
_HERE = Path(__file__).parent


def run() -> dict[str, Any]:
    """Return precision, recall, F1 and rate per extractor, in all and per site."""
    python = _environment()
    pages = FOLDER / "pages"
    subprocess.run([python, str(_HERE / "render.py"), str(pages)], check=True)
    if (DATA / "html").exists():
        httpd.write_pages(pages)
    results = {name: _measured(python, pages, name, ROOT) for name in EXTRACTORS}
    if base := os.environ.get("FRESHET_BASE"):
        results[f"freshet {base}"] = _measured(python, pages, "freshet", _checkout(base))
    own = results["freshet"]
    worst = min(site["F1"] for site in own["sites"].values())
    holds = own["all pages"]["F1"] >= GOAL and worst >= GOAL_PER_SITE
    return {"holds": holds, "sites": len(own["sites"]), **results}


def _environment() -> str:
    folder = FOLDER / "venv"
    python = str(folder / "bin" / "python")
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        (folder / "complete").touch()
    return python


def _checkout(commit: str) -> Path:
    folder = FOLDER / commit
    folder.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(
        ["git", "archive", commit, "corpus"], cwd=ROOT, check=True, capture_output=True
    )
    subprocess.run(["tar", "x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def _measured(python: str, pages: Path, extractor: str, code: Path) -> dict[str, Any]:
    done = subprocess.run(
        [python, str(_HERE / "measure.py"), str(pages), extractor],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(code)},
    )
    result = json.loads(done.stdout)
    by_site: dict[str, list[list[float]]] = {}
    for page, scores in result["scores"].items():
        by_site.setdefault(page.split("/")[0], []).append(scores)
    sys.stderr.write(f"{extractor}: {len(result['scores'])} pages\n")
    return {
        "all pages": _means(list(result["scores"].values())),
        "MB per CPU second": round(result["MB per CPU second"], 2),
        "sites": {site: _means(scores) for site, scores in sorted(by_site.items())},
    }


def _means(scores: list[list[float]]) -> dict[str, float]:
    precision, recall, f1 = (round(mean(column), 4) for column in zip(*scores, strict=True))
    return {"pages": len(scores), "precision": precision, "recall": recall, "F1": f1}
