"""Activity shells: name, input, output, heartbeat, error translation. The workers inject the steps themselves."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from temporalio import activity
from temporalio.converter import value_to_type
from temporalio.exceptions import FailureError

from corpus.batch import (
    BatchReport,
    EmbeddedBatch,
    EmbedRequest,
    LoadedSource,
    PreparedBatch,
    PrepareRequest,
    PublishRequest,
    RewindRequest,
    RewoundSource,
    StagedFile,
)
from corpus.errors import (
    MAX_KILLS,
    FreshetError,
    TimeSliceUsedError,
    as_application_error,
    killed_error,
    mistake_error,
)

# Orders to end, and what Temporal raises. Any other error is a mistake, also a panic of a library in Rust, which is no
# `Exception`.
_NOT_MISTAKES = (
    FailureError,
    asyncio.CancelledError,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
)

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
SILENT_SECONDS = "silent_seconds"  # key of a detail of heartbeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the attempts before came to. Every heartbeat carries it: the last one is all that a new attempt gets."""

    kills: int = (
        0  # attempts that ended without a word: with their process, or by a timeout
    )
    mistakes: int = 0  # that ended in an error that is none of ours
    progress: StagedFile | None = None  # what the last used slice of time has left

    @property
    def bad_ends(self) -> int:
        """Attempts that ended as a step should not end."""
        return self.kills + self.mistakes


@contextmanager
def heartbeats(
    silent_seconds: Callable[[], int] | None = None,
) -> Generator[Past, None, None]:
    """Send a heartbeat every second while the body runs, and translate Freshet's errors into Temporal's.

    The body is a step that runs in a thread. Its progress is in the database (shards, the publishing transaction), and
    the next attempt reads there what is done. Where it is elsewhere, the step raises TimeSliceUsedError with what the
    next attempt continues with.

    A heartbeat counts its own attempt as killed. The first one is sent at once, and an attempt that ends in an error
    takes itself out of the count again. A used slice of time is in no count. A heartbeat shows that the process lives,
    and not that the step does: the one of a step that may hang also carries for how long it has finished nothing.

    Args:
        silent_seconds: since the step last finished something; None: it cannot hang.

    Yields:
        What the attempts before came to.

    Raises:
        ApplicationError: the body raised an error, or too many attempts ended without a word; its type is the name of
            the error's class.
    """
    past = _past(activity.info().heartbeat_details)
    if past.kills >= MAX_KILLS:
        raise killed_error(past.kills)
    if_killed = replace(past, kills=past.kills + 1)
    activity.heartbeat(if_killed)
    ended = threading.Event()
    # A heartbeat belongs to the activity of its context, which a new thread does not inherit.
    context = contextvars.copy_context()

    def send_heartbeats() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            details: list[object] = [if_killed]
            if silent_seconds is not None:
                details.append({SILENT_SECONDS: silent_seconds()})
            try:
                context.run(activity.heartbeat, *details)
            except RuntimeError:
                # The worker has ended before its step: its event loop is closed, and nobody is told any more.
                return

    thread = threading.Thread(target=send_heartbeats, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield past
    except BaseException as error:
        ended.set()
        thread.join()
        past = _with_end(past, error)
        activity.heartbeat(past)
        translated = _translated(error, past.mistakes)
        if translated is error:
            raise
        raise translated from error
    finally:
        ended.set()
        thread.join()


def _past(details: Sequence[Any]) -> Past:
    """What the last heartbeat carried; those of versions before carried a part or nothing."""
    if not details:
        return Past()
    carried = details[0]
    if isinstance(carried, int):
        return Past(kills=carried)
    if "url" in carried:
        return Past(progress=StagedFile(**carried))
    return value_to_type(Past, carried)


def _with_end(past: Past, error: BaseException) -> Past:
    """The past of the next attempt, where this one ends in an error."""
    if _is_mistake(error):
        return replace(past, mistakes=past.mistakes + 1)
    if isinstance(error, TimeSliceUsedError):
        for detail in error.details:
            if isinstance(detail, StagedFile):
                return replace(past, progress=detail)
    return past


def _is_mistake(error: BaseException) -> bool:
    return not isinstance(error, (FreshetError, *_NOT_MISTAKES))


def _translated(error: BaseException, mistakes: int) -> BaseException:
    """Temporal's form of an error; cancellations and Temporal's own errors stay what they are."""
    if isinstance(error, FreshetError):
        return as_application_error(error)
    if not _is_mistake(error):
        return error
    logger.error(
        "a step raised an error that is none of ours",
        exc_info=error,
        extra={"action": "mistake", "mistakes": mistakes},
    )
    return mistake_error(error, mistakes)


class PrepareActivities:
    """Queue `freshet-prepare`."""

    def __init__(self, prepare: Callable[[PrepareRequest], PreparedBatch]) -> None:
        self._prepare = prepare

    @activity.defn(name="corpus.prepare")
    def prepare(self, request: PrepareRequest) -> PreparedBatch:
        """Clean, split and compare the events of a batch."""
        with heartbeats() as past:
            continued = replace(request, progress=past.progress, bad_ends=past.bad_ends)
            return self._prepare(continued)


class EmbedActivities:
    """Queue `freshet-embed`."""

    def __init__(
        self,
        embed: Callable[[EmbedRequest], EmbeddedBatch],
        silent_seconds: Callable[[], int] | None = None,
    ) -> None:
        self._embed = embed
        self._silent_seconds = silent_seconds

    @activity.defn(name="corpus.embed")
    def embed(self, request: EmbedRequest) -> EmbeddedBatch:
        """Embed every text of the batch that has no vector yet."""
        with heartbeats(self._silent_seconds) as past:
            return self._embed(replace(request, bad_ends=past.bad_ends))


class EmbedHelpActivities:
    """Queue `freshet-embed-help`."""

    def __init__(
        self, help_embed: Callable[[EmbedRequest, Callable[[], bool]], EmbeddedBatch]
    ) -> None:
        self._help_embed = help_embed

    # It ends between two shards: an exception thrown into its thread would lose the one that it computes.
    @activity.defn(name="corpus.help_embed", no_thread_cancel_exception=True)
    def help_embed(self, request: EmbedRequest) -> EmbeddedBatch:
        """Embed a part of a batch that another embedder works on."""
        with heartbeats():
            return self._help_embed(request, _is_wanted)


def _is_wanted() -> bool:
    """Whether nobody has asked the activity to end: its batch is done, or its worker ends."""
    return not activity.is_cancelled() and not activity.is_worker_shutdown()


class PublishActivities:
    """Queue `freshet-store`."""

    def __init__(
        self,
        publish: Callable[[PublishRequest], BatchReport],
        load_source: Callable[[str], LoadedSource],
        rewind_source: Callable[[RewindRequest], RewoundSource],
    ) -> None:
        self._publish = publish
        self._load_source = load_source
        self._rewind_source = rewind_source

    @activity.defn(name="corpus.publish")
    def publish(self, request: PublishRequest) -> BatchReport:
        """Make a batch visible: one transaction."""
        with heartbeats():
            return self._publish(request)

    @activity.defn(name="corpus.load_source")
    def load_source(self, source: str) -> LoadedSource:
        """Read what an entity starts from."""
        with heartbeats():
            return self._load_source(source)

    @activity.defn(name="corpus.rewind_source")
    def rewind_source(self, request: RewindRequest) -> RewoundSource:
        """Let the consumer read again from the position row; or halt the source."""
        with heartbeats():
            return self._rewind_source(request)
