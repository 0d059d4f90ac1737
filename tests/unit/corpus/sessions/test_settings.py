"""Which settings a session pins: those that the server knows, and the schema of pgvector before `public`."""

import pytest

from corpus.sessions.settings import LIMITS, SETTINGS, pinned_names, settings_of

SECONDS = dict(zip(LIMITS, (5, 600, 30), strict=True))


def pinned(version: int, vector_schema: str = "public") -> dict[str, str]:
    return {s.name: s.value for s in settings_of(SECONDS, vector_schema, version)}


@pytest.mark.parametrize(("version", "known"), [(15_00_20, False), (17_00_00, True)])
def test_only_what_the_server_knows_is_pinned(version: int, known: bool) -> None:
    assert ("transaction_timeout" in pinned(version)) is known
    assert pinned(version)["statement_timeout"] == "600s"


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("public", "freshet, public"),
        ("extensions", "freshet, extensions, public"),
        ('"Of ours"', 'freshet, "Of ours", public'),
        ("freshet", "freshet, public"),
    ],
)
def test_the_path_of_names_has_the_schema_of_pgvector(schema: str, path: str) -> None:
    assert pinned(18_00_00, schema)["search_path"] == path


def test_each_setting_is_declared_once_and_says_why() -> None:
    names = pinned_names()
    assert len(names) == len({name.lower() for name in names})
    assert set(pinned(18_00_00)) == set(names)
    assert all(setting.why for setting in SETTINGS)
