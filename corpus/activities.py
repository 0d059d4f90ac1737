"""Activity shells: name, input, output, heartbeat, error translation. The steps themselves are injected by the workers."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
)
from corpus.errors import FreshetError, as_application_error

HEARTBEAT_SECONDS = 1.0


@contextmanager
def heartbeats() -> Iterator[None]:
    """Heartbeat every second while the body runs, and translate our errors.

    The body is a step in a thread; its progress lies in the database (shards, the publishing transaction), so the heartbeat
    needs no details: the next attempt finds what is done.
    """
    ended = threading.Event()
    context = contextvars.copy_context()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            context.run(activity.heartbeat)

    thread = threading.Thread(target=beat, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    except FreshetError as error:
        raise as_application_error(error) from error
    finally:
        ended.set()
        thread.join()


class PrepareActivities:
    """Queue `freshet-prepare`."""

    def __init__(self, prepare: Callable[[PrepareRequest], PreparedBatch]) -> None:
        self._prepare = prepare

    @activity.defn(name="corpus.prepare")
    def prepare(self, request: PrepareRequest) -> PreparedBatch:
        """Clean, split and compare the events of a batch."""
        with heartbeats():
            return self._prepare(request)


class EmbedActivities:
    """Queue `freshet-embed`."""

    def __init__(self, embed: Callable[[EmbedRequest], EmbeddedBatch]) -> None:
        self._embed = embed

    @activity.defn(name="corpus.embed")
    def embed(self, request: EmbedRequest) -> EmbeddedBatch:
        """Give every text of the batch a vector, unless it has one."""
        with heartbeats():
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
        """What an entity starts from."""
        with heartbeats():
            return self._load_source(source)

    @activity.defn(name="corpus.rewind_source")
    def rewind_source(self, request: RewindRequest) -> RewoundSource:
        """Let the consumer read again from the position row, or halt the source."""
        with heartbeats():
            return self._rewind_source(request)
