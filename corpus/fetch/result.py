"""What is fetched, and what comes of it."""

from dataclasses import dataclass

from corpus.dead_letter import DeadLetterReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """By what an origin recognises the bytes that it sent before."""

    etag: str | None = None
    last_modified: str | None = None  # as the header has it

    @property
    def is_empty(self) -> bool:
        """Whether the origin gave none."""
        return self.etag is None and self.last_modified is None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """One document that is to be fetched."""

    row: int  # of the batch's table of events
    url: str
    sha256: bytes | None = None  # that its bytes must have; None: any
    known: Validators | None = None  # ask whether it is still that


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A document that was fetched, without its bytes."""

    host: str
    sha256: bytes
    size: int  # bytes
    content_type: str | None = (
        None  # as the origin states it, with parameters; None: it does not
    )
    validators: Validators = Validators()


@dataclass(frozen=True, slots=True, kw_only=True)
class StillTheSame:
    """The origin says that the document has not changed."""

    host: str
    validators: Validators


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFetched:
    """Why a document could not be fetched; the words hold no address, since one may hold a credential."""

    host: str
    reason: DeadLetterReason
    detail: str
    may_pass: bool = False
    retry_after_seconds: int = 0  # that the host asks for; 0: it asks for nothing
    is_missing: bool = False  # the origin says that there is no such document
    was_asked: bool = (
        True  # False: its host answers, and this document was not asked for
    )


Outcome = Fetched | StillTheSame | NotFetched


@dataclass(frozen=True, slots=True)
class Result:
    """A request with its outcome."""

    request: FetchRequest
    outcome: Outcome
    content: bytes = b""


class FetchError(Exception):
    """A try that failed; `NotFetched` says what comes of it."""

    def __init__(
        self,
        detail: str,
        *,
        reason: DeadLetterReason = DeadLetterReason.FETCH_FAILED,
        may_pass: bool = False,
        retry_after: int = 0,
        is_slow: bool = False,
        is_missing: bool = False,
        of_host: bool = False,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        self.may_pass = may_pass
        self.retry_after = retry_after
        self.is_slow = is_slow
        self.is_missing = is_missing
        # Its host is away, slow or has too much to do; other documents of it fare alike.
        self.of_host = of_host


def refused(detail: str) -> FetchError:
    """The error of an address that the source does not allow."""
    return FetchError(detail, reason=DeadLetterReason.FETCH_REFUSED)
