"""What Kafka answers: to many questions at once, where a refused one keeps none of the others; and for records."""

import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from confluent_kafka import Consumer, KafkaError, Message

from corpus.errors import DependencyError

Key = TypeVar("Key")
Answer = TypeVar("Answer")

# Errors of one record batch that librdkafka cannot read, at the offset where it is: inflated it is larger than
# `receive.message.max.bytes`, it is damaged, or its codec is not known.
UNREADABLE = frozenset(
    {
        KafkaError._BAD_COMPRESSION,
        KafkaError._BAD_MSG,
        KafkaError._NOT_IMPLEMENTED,
        KafkaError.INVALID_MSG,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    }
)


@dataclass(frozen=True)
class Answers(Generic[Key, Answer]):
    """What a cluster answered about each topic or partition."""

    answers: dict[Key, Answer] = field(default_factory=dict[Key, Answer])
    unknown: set[Key] = field(default_factory=set[Key])  # the cluster does not have it
    refusals: dict[Key, str] = field(default_factory=dict[Key, str])  # and why

    def complete(self) -> dict[Key, Answer]:
        """The answers, where none was refused.

        Raises:
            DependencyError: one was refused.
        """
        for reason in self.refusals.values():
            raise DependencyError(reason)
        return self.answers

    def unless_all_refused(self) -> "Answers[Key, Answer]":
        """These answers.

        Raises:
            DependencyError: every question was refused: it is the cluster that does not answer.
        """
        if not self.answers and not self.unknown:
            self.complete()
        return self


def next_message(consumer: Consumer, seconds: float) -> Message | None:
    """What a reader gets next that was given its partitions; None: nothing within these seconds.

    The client wants the name of a group, and asks for its coordinator. That the user has no right on that group is
    nothing to a reader that is no member of it.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.0, deadline - time.monotonic())
        message = consumer.poll(left)
        if message is None or not _is_of_group(message):
            return message


def _is_of_group(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
