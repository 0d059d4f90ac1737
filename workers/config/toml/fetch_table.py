"""[source.NAME.fetch] as a person writes it: what records may point to."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from corpus.specs.fetch import STORE_SCHEMES, FetchSpec
from workers.config.table import Table
from workers.config.values import Seconds, SecondsOfHalfAnHour

_FETCH: Any = FetchSpec()


def _host(name: str) -> str:
    if "/" in name or "@" in name or "*" in name:
        raise ValueError('a host such as "wiki.internal" or "wiki.internal:8443"')
    return name.lower()


def _folder(path: str) -> str:
    steps = path.split("/")
    if not path.startswith("/") or ".." in steps or path.strip("/") == "":
        raise ValueError('an absolute folder such as "/srv/documents"')
    return path


def _store(url: str) -> str:
    scheme, separator, bucket = url.partition("://")
    if not separator or scheme not in STORE_SCHEMES or not bucket.strip("/"):
        raise ValueError('a bucket, perhaps with a prefix, such as "s3://docs/public"')
    if "@" in bucket or ".." in bucket.split("/"):
        raise ValueError("a bucket without a name, a password or ..")
    return url


Host = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_host)]
Folder = Annotated[str, Field(max_length=4_000), AfterValidator(_folder)]
Store = Annotated[str, Field(max_length=2_000), AfterValidator(_store)]


class FetchTable(Table):
    """[source.NAME.fetch]: documents that records point to (`content_url`)."""

    internal_hosts: list[Host] = Field(
        default=list(_FETCH.internal_hosts),
        description="Hosts, as HOST or HOST:PORT, that may be reached at addresses which are not public.",
    )
    plain_http: bool = Field(
        default=_FETCH.plain_http,
        description="Read http:// as well as https://.",
    )
    folders: list[Folder] = Field(
        default=list(_FETCH.folders),
        description="Folders; file:// is read below them and nowhere else.",
    )
    stores: list[Store] = Field(
        default=list(_FETCH.stores),
        description="Buckets with a prefix (s3://, az://, gs://); of object stores nothing else is read.",
    )
    timeout: SecondsOfHalfAnHour = Field(
        default=_FETCH.timeout_seconds,
        description="Time for one document, from its first redirect to its last byte; half an hour at most.",
    )
    per_host: Annotated[int, Field(ge=1, le=16, strict=True)] = Field(
        default=_FETCH.per_host,
        description="Documents of one host that are fetched side by side.",
    )
    retry_for: Seconds = Field(
        default=_FETCH.retry_for_seconds,
        description="How long what cannot be fetched now is tried again, before it is a dead letter for good.",
    )
    revalidate: bool = Field(
        default=_FETCH.revalidate,
        description="Ask the origin before age withdraws a document (`expire_after`); unchanged renews it.",
    )
    revalidate_per_check: Annotated[int, Field(ge=1, le=10_000, strict=True)] = Field(
        default=_FETCH.revalidate_per_check,
        description="Documents that one check of the freshness asks for.",
    )

    def spec(self) -> FetchSpec:
        """As the workers read it."""
        return FetchSpec(
            internal_hosts=tuple(self.internal_hosts),
            plain_http=self.plain_http,
            folders=tuple(self.folders),
            stores=tuple(self.stores),
            timeout_seconds=self.timeout,
            per_host=self.per_host,
            retry_for_seconds=self.retry_for,
            revalidate=self.revalidate,
            revalidate_per_check=self.revalidate_per_check,
        )
