"""What Temporal keeps of an error: its kind, its place and words without values, of each of its causes.

Every client and worker of Freshet converts errors here, so that no library's message, and no server's line DETAIL,
gets into a history, whichever code raised it and did not translate it.
"""

import nexusrpc
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError, FailureError
from typing_extensions import override

from corpus.disclosure.error_text import public_text


class PublicFailureConverter(DefaultFailureConverter):
    """Converts errors of Temporal as they are, and any other by what it may say in public."""

    @override
    def to_failure(
        self,
        exception: BaseException,
        payload_converter: PayloadConverter,
        failure: Failure,
    ) -> None:
        is_worded = isinstance(exception, (FailureError, nexusrpc.HandlerError))
        if is_worded:
            super().to_failure(exception, payload_converter, failure)
            return
        worded = ApplicationError(
            public_text(exception), type=type(exception).__name__
        ).with_traceback(exception.__traceback__)
        worded.__cause__ = exception.__cause__
        worded.__context__ = exception.__context__
        worded.__suppress_context__ = exception.__suppress_context__
        super().to_failure(worded, payload_converter, failure)


class EncryptedFailureConverter(PublicFailureConverter):
    """The same, with messages and stacks where the payload codec encrypts them."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)
