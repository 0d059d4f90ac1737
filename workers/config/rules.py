"""What the tables of `freshet.toml` must not say together, though each of them is right alone."""

from collections.abc import Iterable, Sequence

from corpus.deliver.subscription import SubscriberSpec
from corpus.service import CORPUS_ENDPOINT
from corpus.source import SourceSpec
from workers.config.values import MAX_TOPIC_LENGTH

Sources = Sequence[SourceSpec]
Subscribers = Sequence[SubscriberSpec]


def check(sources: Sources, subscribers: Subscribers) -> None:
    """Refuse what cannot be meant.

    Raises:
        ValueError: names the field, the value and what to do.
    """
    no_loop(sources)
    _distinct_for_kafka(sources)
    _known_sources(sources, subscribers)
    _one_target_each(subscribers)


def no_loop(sources: Sources) -> None:
    """A dead letter that some source reads is refused there and written again, for ever.

    Raises:
        ValueError: names both sources.
    """
    readers = {topic: spec.source for spec in sources for topic in spec.topics}
    for spec in sources:
        topic = spec.dead_letters_to()
        default = "" if spec.dead_letter_topic else " (the default)"
        shown = f"source.{spec.source}.dead_letter_topic = {topic!r}{default}"
        if len(topic) > MAX_TOPIC_LENGTH:
            raise ValueError(
                f"{shown} is longer than {MAX_TOPIC_LENGTH} characters; set a shorter one"
            )
        if topic in readers:
            raise ValueError(
                f"{shown} is one of the topics of source {readers[topic]!r}: "
                "dead letters would come back for ever; set another one"
            )


def _distinct_for_kafka(sources: Sources) -> None:
    """Kafka refuses a topic whose name differs from another's only by `.` and `_`: their metrics would be the same."""
    seen: dict[str, str] = {}
    for topic in _topics(sources):
        metric = topic.replace(".", "_")
        other = seen.setdefault(metric, topic)
        if other != topic:
            raise ValueError(
                f"topics {other!r} and {topic!r} are one to Kafka, "
                "which does not tell . from _ in names; rename one of them"
            )


def _topics(sources: Sources) -> Iterable[str]:
    """Every topic that is read or written."""
    for spec in sources:
        yield from spec.topics
        yield spec.dead_letters_to()


def _known_sources(sources: Sources, subscribers: Subscribers) -> None:
    names = sorted(spec.source for spec in sources)
    for subscriber in subscribers:
        for source in subscriber.sources:
            if source not in names:
                raise ValueError(
                    f"subscriber.{subscriber.subscriber}.sources names {source!r}, "
                    f"which is not a source of this file (it has: {', '.join(names) or 'none'})"
                )


def _one_target_each(subscribers: Subscribers) -> None:
    """An endpoint leads to one task queue in one namespace."""
    first: dict[str, SubscriberSpec] = {}
    for spec in subscribers:
        if spec.endpoint == CORPUS_ENDPOINT:
            raise ValueError(
                f"subscriber.{spec.subscriber}.endpoint = {spec.endpoint!r} is Freshet's own; "
                "name another one"
            )
        other = first.setdefault(spec.endpoint, spec)
        _same_target(other, spec)


def _same_target(one: SubscriberSpec, other: SubscriberSpec) -> None:
    for field in ("namespace", "task_queue"):
        target, given = getattr(one, field), getattr(other, field)
        if target != given:
            raise ValueError(
                f"subscriber.{other.subscriber}.{field} = {given!r}, "
                f"but endpoint {other.endpoint!r} leads to {target!r} "
                f"for subscriber {one.subscriber!r}; use another endpoint, or the same {field}"
            )
