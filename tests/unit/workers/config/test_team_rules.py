"""[team.NAME] of freshet.toml: what it becomes, and what cannot be meant."""

import pytest

from corpus.access.team import READING, TeamSpec
from tests.support.refusing import refused
from workers.config.file import parse

SOURCES = "[source.a]\n[source.b]\n"
TEAM = '[team.one]\nendpoint = "corpus-one"\nnamespace = "n1"\n'
SUBSCRIBER = (
    '[subscriber.s]\nsources = ["a"]\nendpoint = "s-notices"\nnamespace = "n1"\ntask_queue = "q"\n'
)


def test_a_team_is_granted_nothing_that_its_table_does_not_name() -> None:
    [team] = parse(SOURCES + TEAM).teams
    assert team == TeamSpec(team="one", endpoint="corpus-one", namespace="n1")
    assert (team.sources, team.groups, team.rights) == ((), (), tuple(map(str, READING)))


def test_all_of_a_team() -> None:
    text = (
        'sources = ["b", "a"]\ngroups = ["staff", "Légal & tax"]\nrights = ["search", "operate"]\n'
        "calls_per_minute = 7\nmax_k = 9\n"
    )
    [team] = parse(SOURCES + TEAM + text).teams
    assert team.sources == ("b", "a")
    assert team.groups == ("staff", "Légal & tax")
    assert team.rights == ("search", "operate")
    assert (team.calls_per_minute, team.max_k) == (7, 9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sources = ["c"]', "team.one.sources names 'c', which is not a source of this file"),
        ('sources = ["a", "a"]', "sources names something twice"),
        ('groups = [""]', "team.one.groups"),
        ('rights = ["admin"]', "team.one.rights"),
        ("max_k = 101", "team.one.max_k"),
        ("max_k = 0", "team.one.max_k"),
        ("calls_per_minute = 0", "team.one.calls_per_minute"),
        ('key = "secret"', "team.one.key is not a setting"),
        (SUBSCRIBER, "which no team of namespace 'n1' may be notified of"),
        (
            'sources = ["a"]\nrights = ["search"]\n' + SUBSCRIBER,
            "which no team of namespace 'n1' may be notified of",
        ),
        (
            TEAM.replace("one]", "two]"),
            "team.two.endpoint = 'corpus-one' is that of team.one",
        ),
        (
            SUBSCRIBER.replace("s-notices", "corpus-one").replace("n1", "n2"),
            "team.one.endpoint = 'corpus-one' is that of subscriber.s",
        ),
    ],
)
def test_teams_that_cannot_be_meant(text: str, said: str) -> None:
    assert said in refused(SOURCES + TEAM + text)


def test_the_endpoint_of_no_team_is_no_teams() -> None:
    text = SOURCES + TEAM.replace("corpus-one", "freshet-corpus")
    assert "is that of Freshet (calls that no team claims)" in refused(text)


def test_a_subscriber_in_the_namespace_of_a_team_is_granted_by_it() -> None:
    granted = SOURCES + TEAM + 'sources = ["a"]\n' + SUBSCRIBER
    assert parse(granted).subscribers
    elsewhere = SOURCES + TEAM + SUBSCRIBER.replace("n1", "n2")
    assert parse(elsewhere).subscribers  # the operator's own, as before
