"""What Temporal keeps of an error, and of every error that led to it."""

import itertools
import json

import psycopg
import pytest
from google.protobuf.json_format import MessageToDict
from nexusrpc import HandlerError, HandlerErrorType
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter, FailureConverter
from temporalio.exceptions import ApplicationError

from corpus.errors import DependencyError
from workers.temporal.failures import EncryptedFailureConverter, PublicFailureConverter

SECRET = "hunter2-canary"


def chain(*errors: BaseException) -> BaseException:
    """The first, caused by the second, and so on."""
    for outer, inner in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[0]


@pytest.mark.parametrize(
    "converter", [PublicFailureConverter(), EncryptedFailureConverter()], ids=["plain", "encoded"]
)
@pytest.mark.parametrize(
    "outer",
    [
        ValueError(SECRET),
        DependencyError("PostgreSQL does not answer"),
        ApplicationError("it failed", type="Kind"),
        HandlerError("it failed", type=HandlerErrorType.INTERNAL),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_library_s_words_are_kept(outer: BaseException, converter: FailureConverter) -> None:
    error = chain(outer, KeyError(SECRET), psycopg.DataError(SECRET))
    failure = Failure()
    converter.to_failure(error, DataConverter.default.payload_converter, failure)
    kept = failure.SerializeToString() + json.dumps(MessageToDict(failure)).encode()
    assert SECRET.encode() not in kept
    assert b"DataError" in kept  # its kind is
    assert failure.cause.application_failure_info.type == "KeyError"


def test_an_error_that_is_suppressed_is_not_kept() -> None:
    error = RuntimeError("a")
    error.__context__ = ValueError("b")
    error.__suppress_context__ = True
    failure = Failure()
    PublicFailureConverter().to_failure(error, DataConverter.default.payload_converter, failure)
    assert failure.application_failure_info.type == "RuntimeError"
    assert not failure.HasField("cause")
