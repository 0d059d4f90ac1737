"""What the tables of freshet.toml must not say together."""

import pytest

from tests.support.refusing import refused
from workers.config.file import parse


@pytest.mark.parametrize(
    "text",
    [
        '[source.a]\ntopics = ["t", "t.dead-letters"]',
        '[source.a]\ntopics = ["t", "d"]\ndead_letter_topic = "d"',
        '[source.a]\n[source.b]\ntopics = ["a.dead-letters"]',
        '[source.b]\ntopics = ["a.dead-letters"]\n[source.a]',
        '[source.a]\n[source.b]\ndead_letter_topic = "a"',
        '[source.a]\n[source."a.dead-letters"]',
    ],
)
def test_no_source_reads_dead_letters(text: str) -> None:
    assert "for ever" in refused(text)
    assert ".dead_letter_topic = '" in refused(text)


def test_dead_letters_of_two_sources_may_share_a_topic() -> None:
    assert (
        len(
            parse(
                '[source.a]\ndead_letter_topic = "dead"\n[source.b]\ndead_letter_topic = "dead"'
            ).sources
        )
        == 2
    )


def test_a_topic_needs_room_for_its_dead_letters() -> None:
    text = f'[source.a]\ntopics = ["{"x" * 240}"]\n'
    assert "source.a.dead_letter_topic" in refused(text)
    assert parse(text + 'dead_letter_topic = "dead"').sources


@pytest.mark.parametrize(
    "text",
    [
        '[source.a]\ntopics = ["a.b", "a_b"]',
        '[source."a.b"]\n[source.a_b]',
        '[source.a]\n[source.b]\ntopics=["a_dead-letters"]',
    ],
)
def test_topics_that_are_one_to_kafka(text: str) -> None:
    assert "are one to Kafka" in refused(text)


TEAM = (
    "[source.a]\n[subscriber.one]\nsources = {sources}\n"
    'endpoint = "{endpoint}"\nnamespace = "{namespace}"\ntask_queue = "{queue}"\n'
)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"namespace": "n n/"}, "subscriber.one.namespace"),
        ({"namespace": " "}, "subscriber.one.namespace"),
        ({"queue": " "}, "subscriber.one.task_queue"),
        ({"endpoint": "team-"}, "subscriber.one.endpoint"),
        ({"endpoint": "freshet-corpus"}, "Freshet's own"),
        ({"sources": '["a", "a"]'}, "names a source twice"),
    ],
)
def test_subscribers_that_cannot_be_meant(change: dict[str, str], told: str) -> None:
    fields = {"sources": '["a"]', "endpoint": "team", "namespace": "team", "queue": "q"}
    assert parse(TEAM.format(**fields)).subscribers
    assert told in refused(TEAM.format(**(fields | change)))


@pytest.mark.parametrize(
    ("namespace", "queue", "told"),
    [("other", "q", "subscriber.two.namespace = 'other'"), ("team", "p", "two.task_queue = 'p'")],
)
def test_an_endpoint_has_one_target(namespace: str, queue: str, told: str) -> None:
    one = TEAM.format(sources='["a"]', endpoint="team", namespace="team", queue="q")
    two = '[subscriber.two]\nsources = ["a"]\nendpoint = "team"\n'
    assert len(parse(f'{one}{two}namespace = "team"\ntask_queue = "q"').subscribers) == 2
    assert told in refused(f'{one}{two}namespace = "{namespace}"\ntask_queue = "{queue}"')
