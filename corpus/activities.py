"""Activity shells: name, input, output, heartbeat, error translation. The workers inject the steps themselves."""

import contextvars
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

from temporalio import activity

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
from corpus.errors import FreshetError, TimeSliceUsedError, as_application_error

HEARTBEAT_SECONDS = 1.0
SILENT_SECONDS = "silent_seconds"  # key of a detail of heartbeats


@contextmanager
def heartbeats(
    silent_seconds: Callable[[], int] | None = None,
) -> Generator[None, None, None]:
    """Send a heartbeat every second while the body runs, and translate Freshet's errors into Temporal's.

    The body is a step that runs in a thread. Its progress is in the database (shards, the publishing transaction), and
    the next attempt reads there what is done. Where it is elsewhere, the step raises TimeSliceUsedError with what the
    next attempt continues with; every heartbeat repeats it, so that it is there also after an attempt was killed. A
    heartbeat shows that the process lives, and not that the step does: the one of a step that may hang carries for how
    long it has finished nothing.

    Args:
        silent_seconds: since the step last finished something; None: it cannot hang.

    Raises:
        ApplicationError: the body raised a FreshetError; its type is the name of the error's class.
    """
    ended = threading.Event()
    # A heartbeat belongs to the activity of its context, which a new thread does not inherit.
    context = contextvars.copy_context()
    details = activity.info().heartbeat_details

    def send_heartbeats() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            sent = details
            if silent_seconds is not None:
                sent = [{SILENT_SECONDS: silent_seconds()}]
            context.run(activity.heartbeat, *sent)

    thread = threading.Thread(target=send_heartbeats, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    except TimeSliceUsedError as error:
        details = error.details
        activity.heartbeat(*details)
        raise as_application_error(error) from error
    except FreshetError as error:
        raise as_application_error(error) from error
    finally:
        ended.set()
        thread.join()


def _with_progress(request: PrepareRequest) -> PrepareRequest:
    """The request with what the attempt before has left for this one."""
    info = activity.info()
    details = info.heartbeat_details
    if not details:
        return request
    progress = StagedFile(**details[0])
    return replace(request, progress=progress)


class PrepareActivities:
    """Queue `freshet-prepare`."""

    def __init__(self, prepare: Callable[[PrepareRequest], PreparedBatch]) -> None:
        self._prepare = prepare

    @activity.defn(name="corpus.prepare")
    def prepare(self, request: PrepareRequest) -> PreparedBatch:
        """Clean, split and compare the events of a batch."""
        with heartbeats():
            return self._prepare(_with_progress(request))


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
        with heartbeats(self._silent_seconds):
            return self._embed(request)


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
