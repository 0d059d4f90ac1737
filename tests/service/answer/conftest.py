"""A standby of the tests' server, and a corpus that a team reads."""

import json
from collections.abc import Iterator

import pytest

from compose.local.parts.postgres import Postgres
from corpus.access.team import TeamSpec
from corpus.sql import query
from tests.support.pipeline import Pipeline, make_event
from tests.support.replicas import TEAM, Replica, standby_of


@pytest.fixture(scope="module")
def replica(
    postgres_server: Postgres, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replica]:
    folder = tmp_path_factory.mktemp("standby")
    with standby_of(postgres_server, folder) as made:
        yield made


@pytest.fixture
def corpus(pipeline: Pipeline) -> Pipeline:
    """Two documents that all may read and one of a group, and a team that reads the source."""
    pipeline.ingest(
        make_event("one", 1, "The keeper opened the sluice."),
        make_event("two", 1, "The mill stands at the river."),
        make_event("hr", 1, "The wages of the keeper.", acl=["hr"]),
    )
    spec = TeamSpec(team=TEAM, endpoint="e", namespace="n", sources=("s",))
    row = {"team": TEAM, "spec": json.dumps(spec.to_json())}
    pipeline.connection.execute(query("write_team"), row)
    return pipeline
