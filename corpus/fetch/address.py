"""The address of a document: what of it may be shown, and whether its source allows it."""

import hashlib
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from corpus.clean.files.kinds import SAYS_NOTHING
from corpus.clean.names import type_by_name
from corpus.fetch.result import FetchError, refused
from corpus.specs.fetch import SCHEMES, STORE_SCHEMES, FetchSpec


def parts_of(url: str) -> SplitResult:
    """The parts of an address.

    Raises:
        FetchError: it cannot be read, has another scheme, no host, or a name and password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
    except ValueError:
        raise refused("the address cannot be read") from None
    if parts.scheme not in SCHEMES:
        raise refused("the scheme of the address is not one that is fetched")
    if parts.username is not None or parts.password is not None:
        raise refused(
            "the address has a user name or a password, which are not sent and would be stored; leave them out"
        )
    if parts.scheme != "file" and not parts.hostname:
        raise refused("the address has no host")
    return parts


def host_of(url: str) -> str:
    """Where an address leads, without anything that may be secret: a host with its port, a bucket, or `file`."""
    try:
        parts = parts_of(url)
    except FetchError:
        return "?"
    if parts.scheme == "file":
        return "file"
    host = parts.hostname or ""
    shown = host.lower()
    if parts.port is not None:
        shown = f"{shown}:{parts.port}"
    if parts.scheme in STORE_SCHEMES:
        shown = f"{parts.scheme}://{shown}"
    return shown


def check_allowed(parts: SplitResult, spec: FetchSpec) -> None:
    """Refuse what the source does not allow; addresses of hosts are checked where they are resolved.

    Raises:
        FetchError: names the setting that would allow it.
    """
    if parts.scheme == "http" and not spec.plain_http:
        raise refused(
            "http:// is not encrypted; use https://, or set fetch.plain_http = true"
        )
    if parts.scheme in STORE_SCHEMES:
        _check_store(parts, spec)


def _check_store(parts: SplitResult, spec: FetchSpec) -> None:
    """Whatever may write to the topic must not read every bucket that this process can."""
    name = f"{parts.scheme}://{parts.netloc}{unquote(parts.path)}"
    steps = PurePosixPath(unquote(parts.path)).parts
    if ".." in steps or not any(is_below(name, store) for store in spec.stores):
        raise refused(
            "the bucket, or this part of it, is not in fetch.stores; name what the source may read there"
        )


def is_below(name: str, prefix: str) -> bool:
    """Whether a name lies in a folder, or under the prefix of a bucket."""
    return name.startswith(prefix.rstrip("/") + "/")


def name_below(path: str, spec: FetchSpec) -> tuple[str, str]:
    """The folder of the source that a file lies in, and the file's name below it.

    Raises:
        FetchError: it lies in none.
    """
    for folder in spec.folders:
        if is_below(path, folder):
            root = folder.rstrip("/") or "/"
            return root, path[len(root) :].lstrip("/")
    raise refused(
        "the file is in none of the folders that the source may read (fetch.folders)"
    )


def media_types(own: str | None, served: str | None, url: str) -> list[str]:
    """Media types, the one that counts most first: of the event, of the origin, by the address; empty for none."""
    stated = served or ""
    if stated.partition(";")[0].strip().lower() in SAYS_NOTHING:
        stated = ""
    return [own or "", stated, type_by_name(urlsplit(url).path) or ""]


def url_digest(url: str) -> bytes:
    """By which an address is recognised, without being kept."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()


def keepable(url: str) -> str | None:
    """An address that may be kept; None where its query may hold a signature or a token."""
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        return None
    if "@" in parts.netloc:
        return None
    return url
