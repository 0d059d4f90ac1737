"""The mark of the installation that a staging store belongs to: another one's sweep would remove its files."""

from corpus.disclosure.error_text import public_text
from corpus.errors import InstallationError
from corpus.installation.identity import Mark, decode, encode
from corpus.staging.store import StagingStore

# Beside the folders of the files, so that no sweep lists it.
MARK_NAME = "installation.json"


def read_mark(store: StagingStore) -> Mark | None:
    """Whose store it is; None: no installation has used it.

    Raises:
        InstallationError: the file is damaged.
        DependencyError: the store does not answer.
    """
    content = store.read(MARK_NAME)
    if content is None:
        return None
    try:
        return decode(content)
    except ValueError as error:
        raise InstallationError(
            f"{MARK_NAME} in staging store {store.url} is damaged ({public_text(error)}); remove it if no other "
            "installation uses this store"
        ) from error


def claim(store: StagingStore, mark: Mark) -> Mark:
    """Leave a mark where there is none; return the mark that the store has.

    Raises:
        InstallationError: the file is damaged.
        DependencyError: the store does not answer.
    """
    current = read_mark(store)
    if current is not None:
        return current
    store.create(MARK_NAME, encode(mark))
    # Another process may have been quicker.
    return read_mark(store) or mark


def take_over(store: StagingStore, mark: Mark) -> None:
    """Replace the mark of another installation.

    Raises:
        DependencyError: the store does not answer.
    """
    store.put(MARK_NAME, encode(mark), rows=0)
