"""Errors of the corpus, and whether a retry can help.

::

    FreshetError
    ├── PermanentError            a retry cannot help
    │   ├── ConfigurationError    a setting or a source's specification is wrong
    │   │   └── InstallationError another installation uses what the settings name, or the database is a copy
    │   ├── StagedFileError       a staged file is missing, truncated or altered
    │   ├── SpaceMismatchError    vectors of two embedding spaces would be mixed
    │   ├── VectorRefusedError    a model made vectors that hold no numbers
    │   ├── PositionGapError      offsets are missing between the corpus and this batch
    │   ├── BatchNumberTakenError another run published under this batch's number
    │   ├── MassExpiryError       more would be expired than the source allows
    │   └── DatabaseRefusalError  PostgreSQL answers and refuses a statement
    └── TransientError            a retry may help
        ├── TimeSliceUsedError    a part of the work is done, the next attempt continues
        ├── StalePreparationError the corpus changed since the batch was prepared: prepare again
        ├── MissingVectorError    a text has no vector yet: embed again
        ├── UnreadableSpecError   this version cannot read a source's stored specification
        └── DependencyError       a service does not answer
            └── LockWaitError     another session holds a lock of the database

The message says what happened, with which value, and what to do next.
"""

import traceback
from datetime import timedelta
from pathlib import Path

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

_NEXT_SLICE_AFTER = timedelta(milliseconds=100)


class FreshetError(Exception):
    """Base of all errors of Freshet."""

    retryable = True


class PermanentError(FreshetError):
    """A retry cannot help."""

    retryable = False


class TransientError(FreshetError):
    """A retry may help."""


class ConfigurationError(PermanentError):
    """A setting or a source's specification is wrong; the message names the field and the value."""


class InstallationError(ConfigurationError):
    """The settings lead to what another installation uses, or the database is a copy; the message names a command."""


class StagedFileError(PermanentError):
    """A staged file is missing, truncated or altered; the message names the file."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


class SpaceMismatchError(PermanentError):
    """Vectors of two embedding spaces would be mixed."""


class VectorRefusedError(PermanentError):
    """A model made no usable vectors of texts; their documents become dead letters when they are prepared again."""


class PositionGapError(PermanentError):
    """Offsets are missing between the last applied one and the first one of this batch."""


class BatchNumberTakenError(PermanentError):
    """Another workflow run published under this batch's number: the entity has lost its state."""


class DatabaseRefusalError(PermanentError):
    """PostgreSQL answers and refuses a statement: a value beyond a limit, an unknown name, a rule of the schema."""


class MassExpiryError(PermanentError):
    """More documents would be expired than the source's `max_expiry_ratio` allows."""


class TimeSliceUsedError(TransientError):
    """An activity has used its slice of time and gives its place to others; the next attempt continues.

    Attributes:
        details: what the next attempt continues with, for the last heartbeat of this one.
    """

    def __init__(self, message: str, *, details: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.details = details


class StalePreparationError(TransientError):
    """What the preparation read from the corpus has changed since; preparing again fixes it."""


class MissingVectorError(TransientError):
    """A text of the batch has no vector in its embedding space; embedding again provides it."""


class UnreadableSpecError(TransientError, ValueError):
    """A source's stored specification cannot be read by this version: a newer one wrote it, or it is damaged.

    A retry may help: a worker of the newer version may answer it, or `freshet apply` writes the specification again.
    """


class DependencyError(TransientError):
    """A service (PostgreSQL, Kafka, Temporal, the staging store) does not answer."""


class LockWaitError(DependencyError):
    """Another session holds a lock for longer than this one may wait; the message names it where it is known."""


# Attempts of an activity that may end in an error that is none of ours, or with their process. A document that raises
# is found in fewer (`corpus.prepare.tries`).
MAX_MISTAKES = 5
MAX_KILLS = 6


def mistake_error(error: BaseException, mistakes: int) -> ApplicationError:
    """Return Temporal's form of an error that no code of Freshet expects: tried again, but not for ever.

    The message has its class and its place; what the error says may hold a document's text, and is in the log
    of the process only.

    Args:
        error: of this attempt.
        mistakes: how many attempts have ended so, with this one.
    """
    kind = type(error).__name__
    return ApplicationError(
        f"{kind} in {place_of(error)} (error {mistakes} of {MAX_MISTAKES}); the log of the process has the trace",
        type=kind,
        non_retryable=mistakes >= MAX_MISTAKES,
    )


def killed_error(kills: int) -> ApplicationError:
    """Return the error of a step whose attempts ended without a word."""
    return ApplicationError(
        f"{kills} attempts ended with their process, or took longer than they may: out of memory, a crash, a timeout; "
        "see the logs of the processes of this role",
        type="StepKilledError",
        non_retryable=True,
    )


def place_of(error: BaseException) -> str:
    """Where an error was raised: file and line, without any value."""
    trace = traceback.extract_tb(error.__traceback__)
    if not trace:
        return "an unknown place"
    innermost = trace[-1]
    return f"{'/'.join(Path(innermost.filename).parts[-2:])}:{innermost.lineno}"


def as_application_error(error: FreshetError) -> ApplicationError:
    """Return Temporal's form of an error; its type is the class name. No other place does this."""
    kind = type(error).__name__
    if isinstance(error, TimeSliceUsedError):
        # No failure: it is in no count of failures, and its place in the queue is behind those who wait.
        return ApplicationError(
            str(error),
            type=kind,
            next_retry_delay=_NEXT_SLICE_AFTER,
            category=ApplicationErrorCategory.BENIGN,
        )
    return ApplicationError(str(error), type=kind, non_retryable=not error.retryable)
