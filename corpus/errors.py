"""Errors of the corpus, and whether trying again can help.

::

    FreshetError
    ├── PermanentError            trying again cannot help
    │   ├── ConfigurationError    a setting or a source's specification is wrong
    │   ├── StagedFileError       a staged file is missing, cut or altered
    │   ├── SpaceMismatchError    vectors of two embedding spaces would have met
    │   ├── PositionGapError      offsets are missing between the corpus and this batch
    │   ├── BatchNumberTakenError another run published under this batch's number
    │   ├── MassExpiryError       more would be expired than the source allows
    │   └── DatabaseRefusalError  PostgreSQL answers, and refuses a statement for what it says
    └── TransientError            trying again may help
        ├── StalePreparationError the corpus moved on under a prepared batch: prepare again
        ├── MissingVectorError    a text has no vector yet: embed again
        └── DependencyError       a service does not answer
"""

from temporalio.exceptions import ApplicationError


class FreshetError(Exception):
    """Base of all."""

    retryable = True


class PermanentError(FreshetError):
    """Trying again cannot help."""

    retryable = False


class TransientError(FreshetError):
    """Trying again may help."""


class ConfigurationError(PermanentError):
    """A setting or a source's specification is wrong; the message names the field and the value."""


class StagedFileError(PermanentError):
    """A staged file is missing, cut or altered; the message names the file."""


class SpaceMismatchError(PermanentError):
    """Vectors of two embedding spaces would have met."""


class PositionGapError(PermanentError):
    """Offsets are missing between what the corpus has applied and what this batch starts with."""


class BatchNumberTakenError(PermanentError):
    """Another workflow run published under this batch's number: the entity's memory was lost."""


class DatabaseRefusalError(PermanentError):
    """PostgreSQL answers, and refuses a statement: a value beyond a limit, a name that is not there, a rule of the schema."""


class MassExpiryError(PermanentError):
    """More documents would be expired than the source's `max_expiry_ratio` allows."""


class StalePreparationError(TransientError):
    """What the preparation took from the corpus has changed since; preparing again heals it."""


class MissingVectorError(TransientError):
    """A text of the batch has no vector in its embedding space; embedding again provides it."""


class DependencyError(TransientError):
    """A service (PostgreSQL, Kafka, Temporal, the staging store) does not answer."""


def as_application_error(error: FreshetError) -> ApplicationError:
    """The one place where an error of ours becomes Temporal's: its type is the class name."""
    return ApplicationError(
        str(error), type=type(error).__name__, non_retryable=not error.retryable
    )
