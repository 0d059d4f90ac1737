"""The staging store of a role: its files are encrypted where payload keys are set."""

from collections.abc import Generator
from contextlib import contextmanager

from corpus.database import SHORT_LIMITS, open_pool
from corpus.disclosure.key_ring import KeyRing
from corpus.staging.sealing import Sealing
from corpus.staging.store import StagingStore
from workers.config.settings import Settings
from workers.config.ways import open_staging

# Each statement of a key takes about a millisecond.
_CONNECTIONS = 1


@contextmanager
def staging_store(settings: Settings, role: str) -> Generator[StagingStore]:
    """The store, and the connection by which keys of files are kept.

    Args:
        settings: of this process.
        role: that opens it.

    Raises:
        ConfigurationError: the store cannot be opened, or the file of payload keys is wrong.
    """
    if not settings.payload_keys:
        yield open_staging(settings)
        return
    ring = KeyRing.from_file(settings.payload_keys)
    with open_pool(
        settings.database_url,
        size=_CONNECTIONS,
        application=f"freshet-{role}-keys",
        limits=SHORT_LIMITS,
    ) as pool:
        yield open_staging(settings, Sealing(pool, ring))
