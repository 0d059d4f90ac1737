"""How documents are fetched that a record only points to (`content_url`)."""

from dataclasses import dataclass

SCHEMES = frozenset({"https", "http", "file", "s3", "az", "gs"})
STORE_SCHEMES = frozenset({"s3", "az", "gs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSpec:
    """What a source's records may point to, and how long it may take.

    Every setting with its default, its unit and its meaning; the tables of `freshet.toml` take defaults from here.
    """

    # Hosts, each as HOST or HOST:PORT, that may be reached at addresses which are not public.
    internal_hosts: tuple[str, ...] = ()
    # Whether http:// is read as well as https://.
    plain_http: bool = False
    # Absolute folders; file:// is read below them and nowhere else.
    folders: tuple[str, ...] = ()
    # Buckets, each with the prefix of what may be read: s3://, az://, gs://.
    stores: tuple[str, ...] = ()
    # Time for one document, from its first redirect to its last byte.
    timeout_seconds: float = 20.0
    # Documents of one host that are fetched side by side.
    per_host: int = 4
    # How long a document that cannot be fetched now is tried again, before it is a dead letter for good.
    retry_for_seconds: int = 86_400
    # Whether a document that age would withdraw is asked for at its origin first.
    revalidate: bool = True
    # Documents that one check asks for, the one that was asked longest ago first.
    revalidate_per_check: int = 500


NO_FETCH = FetchSpec()
