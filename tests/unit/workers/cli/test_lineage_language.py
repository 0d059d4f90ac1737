"""`freshet lineage` says which language a version has, and why."""

from typing import Any

import pytest

from workers.cli.commands.corpus import _language


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ({"language": "german", "language_from": "event"}, "german (event: de-AT)"),
        ({"language": "german", "language_from": "detected"}, "german (detected in the text)"),
        ({"language": "english", "language_from": "source"}, "english (of the source)"),
        ({"language": "english", "language_from": None}, "english (of the source)"),
        (
            {"language": "english", "language_from": "source", "language_note": "unknown"},
            "english (of the source; the event names 'de-AT', which is no language here)",
        ),
        (
            {"language": "english", "language_from": "source", "language_note": "unsure"},
            "english (of the source; the text is too short, or in several languages)",
        ),
        ({"language": None}, "none (a deletion)"),
    ],
)
def test_a_version_says_its_language_and_why(version: dict[str, Any], shown: str) -> None:
    unset = {"language_from": None, "language_note": None, "stated_language": "de-AT"}
    assert _language(unset | version) == shown
