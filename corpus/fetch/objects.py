"""Documents in object stores (s3://, az://, gs://) and in folders (file://)."""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    NotModifiedError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import from_url

from corpus.disclosure.error_text import service_text
from corpus.errors import StagedFileError
from corpus.fetch.address import check_allowed, name_below, parts_of
from corpus.fetch.body import check_sum, read_body
from corpus.fetch.places import BodyPlace
from corpus.fetch.result import (
    Fetched,
    FetchError,
    FetchRequest,
    Result,
    StillTheSame,
    Validators,
    refused,
)
from corpus.fetch.threads import Threads
from corpus.specs.fetch import FetchSpec
from corpus.staging.folder import Folder

# Tries are counted and spread by the caller.
_ONE_TRY: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
# Names that obstore cannot ask for, such as those with // in them, and buckets that it cannot open.
_NEVER = (
    ValueError,
    InvalidPathError,
    NotSupportedError,
    UnknownConfigurationKeyError,
)
# Of files that may be there in a while; every other error is of the name, or of its rights.
_PASSING = frozenset(
    {
        *(errno.EIO, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT, errno.ENXIO),
        *(errno.ENODEV, errno.ECONNRESET, errno.EHOSTDOWN, errno.ENOTCONN),
    }
)
# Of a body that is read, before it is known whether it is large.
_PIECE_BYTES = 65_536
_DISKS = Threads(32)
_MISSING = "there is no such object"


async def fetch_object(
    request: FetchRequest,
    host: str,
    spec: FetchSpec,
    max_bytes: int,
    place: BodyPlace,
) -> Result:
    """One object. The credentials are those of this process (`AWS_...`, `AZURE_...`, `GOOGLE_...`).

    Args:
        request: for it.
        host: as it is shown.
        spec: of the source.
        max_bytes: of a document.
        place: of its body.

    Raises:
        FetchError: this try failed.
    """
    parts = parts_of(request.url)
    check_allowed(parts, spec)
    options: Any = {}
    known = request.known
    if known is not None and known.etag is not None:
        options["if_none_match"] = known.etag
    try:
        bucket = f"{parts.scheme}://{parts.netloc}"
        store = _store(bucket)
        key = _key(parts)
        stored = await obstore.get_async(store, key, options=options)
        place.answered()
        pieces = _pieces(stored)
        content = await read_body(pieces, max_bytes, place=place)
    except NotModifiedError:
        assert known is not None, "it was asked for"
        return Result(request, StillTheSame(host=host, validators=known))
    except FileNotFoundError:
        raise FetchError(_MISSING, is_missing=True) from None
    except (BaseError, OSError, ValueError) as error:
        raise _refusal(error) from None
    attributes: dict[str, Any] = dict(stored.attributes)
    fetched = Fetched(
        host=host,
        sha256=check_sum(content, request.sha256),
        size=len(content),
        content_type=attributes.get("Content-Type"),
        validators=Validators(etag=stored.meta.get("e_tag")),
    )
    return Result(request, fetched, content)


def _refusal(error: Exception) -> FetchError:
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return FetchError("the store does not allow it (credentials?)")
    if isinstance(error, _NEVER):
        return FetchError("the store cannot be asked for such a name")
    return FetchError(
        f"the store does not answer as it should ({service_text(error)})",
        may_pass=True,
        of_host=True,
    )


@lru_cache(maxsize=64)
def _store(bucket: str) -> Any:
    return from_url(bucket, retry_config=_ONE_TRY)


def _key(parts: SplitResult) -> str:
    return unquote(parts.path).lstrip("/")


async def _pieces(stored: Any) -> AsyncIterator[bytes]:
    async for piece in stored.stream(_PIECE_BYTES):
        yield bytes(piece)


async def fetch_file(request: FetchRequest, spec: FetchSpec, max_bytes: int) -> Result:
    """One file below the folders of the source; no link is followed.

    Raises:
        FetchError: it cannot be read.
    """
    parts = parts_of(request.url)
    if parts.hostname not in (None, "", "localhost"):
        raise refused("file:// with a host is not read; write file:///folder/name")
    folder, name = name_below(unquote(parts.path), spec)
    try:
        read = partial(Folder(Path(folder)).read, name, max_bytes)
        content = await _DISKS.run(read)
    except StagedFileError:
        raise FetchError(
            "the file is too large (max_document_bytes), a link, a folder or a device, or it is being written"
        ) from None
    except OSError as error:
        why = error.strerror or service_text(error)
        raise FetchError(
            f"the file cannot be read ({why})", may_pass=error.errno in _PASSING
        ) from None
    if content is None and not await _DISKS.run(partial(_holds_something, folder)):
        # A disk that is not mounted leaves its folder empty: what is gone from there says nothing of the files.
        raise FetchError(
            "the folder that the source may read is not there, or is empty; is its disk mounted?",
            may_pass=True,
            of_host=True,
        )
    if content is None:
        raise FetchError("there is no such file", is_missing=True)
    fetched = Fetched(
        host="file", sha256=check_sum(content, request.sha256), size=len(content)
    )
    return Result(request, fetched, content)


def _holds_something(folder: str) -> bool:
    with suppress(OSError), os.scandir(folder) as entries:
        return next(entries, None) is not None
    return False
