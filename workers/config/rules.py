"""What the tables of `freshet.toml` must not say together, though each of them is right alone."""

from collections.abc import Iterable, Sequence

from corpus.deliver.subscription import SubscriberSpec
from corpus.service import CORPUS_ENDPOINT
from corpus.source import SourceSpec
from workers.config.values import MAX_TOPIC_LENGTH


def check(sources: Sequence[SourceSpec], subscribers: Sequence[SubscriberSpec]) -> None:
    """Refuse what cannot be meant.

    Raises:
        ValueError: names the field, the value and what to do.
    """
    no_loop(sources)
    _distinct_for_kafka(sources)
    _known_sources(sources, subscribers)
    _one_target_each(subscribers)


def no_loop(sources: Sequence[SourceSpec]) -> None:
    """A dead letter that some source reads is refused there and written again, for ever.

    Raises:
        ValueError: names both sources.
    """
    readers = {topic: spec.source for spec in sources for topic in spec.topics}
    for spec in sources:
        topic, field = spec.dead_letters_to(), f"source.{spec.source}.dead_letter_topic"
        default = "" if spec.dead_letter_topic else " (the default)"
        if len(topic) > MAX_TOPIC_LENGTH:
            raise ValueError(
                f"{field} = {topic!r}{default} is longer than {MAX_TOPIC_LENGTH} characters; set a shorter one"
            )
        if topic in readers:
            raise ValueError(
                f"{field} = {topic!r}{default} is one of the topics of source {readers[topic]!r}: dead letters would come back for ever; "
                "set another one"
            )


def _distinct_for_kafka(sources: Sequence[SourceSpec]) -> None:
    """Kafka refuses a topic whose name differs from another's only by `.` and `_`: their metrics would be the same."""
    seen: dict[str, str] = {}
    for topic in (topic for spec in sources for topic in (*spec.topics, spec.dead_letters_to())):
        other = seen.setdefault(topic.replace(".", "_"), topic)
        if other != topic:
            raise ValueError(
                f"topics {other!r} and {topic!r} are one to Kafka, which does not tell . from _ in names; rename one of them"
            )


def _known_sources(sources: Iterable[SourceSpec], subscribers: Iterable[SubscriberSpec]) -> None:
    names = {spec.source for spec in sources}
    for subscriber in subscribers:
        for source in subscriber.sources:
            if source not in names:
                known = ", ".join(sorted(names)) or "none"
                raise ValueError(
                    f"subscriber.{subscriber.subscriber}.sources names {source!r}, which is no source of this file (there: {known})"
                )


def _one_target_each(subscribers: Iterable[SubscriberSpec]) -> None:
    """An endpoint leads to one task queue in one namespace."""
    seen: dict[str, SubscriberSpec] = {}
    for spec in subscribers:
        if spec.endpoint == CORPUS_ENDPOINT:
            raise ValueError(
                f"subscriber.{spec.subscriber}.endpoint = {spec.endpoint!r} is Freshet's own; name another one"
            )
        other = seen.setdefault(spec.endpoint, spec)
        for field in ("namespace", "task_queue"):
            if getattr(other, field) != getattr(spec, field):
                raise ValueError(
                    f"subscriber.{spec.subscriber}.{field} = {getattr(spec, field)!r}, but endpoint {spec.endpoint!r} leads to "
                    f"{getattr(other, field)!r} for subscriber {other.subscriber!r}; use another endpoint, or the same {field}"
                )
