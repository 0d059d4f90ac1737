"""[source.NAME.fetch]: what may be written, and what is refused when the file is read."""

import pytest

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.specs.fetch import FetchSpec
from workers.config.file import parse

BEGIN = "[source.a.fetch]\n"


def test_a_table_is_read_and_stored() -> None:
    [spec] = parse(
        BEGIN
        + """internal_hosts = ["Wiki.internal", "10.0.0.7:8443"]
plain_http = true
folders = ["/srv/documents"]
stores = ["s3://docs/public"]
timeout = "5s"
per_host = 2
retry_for = "2h"
"""
    ).sources
    assert spec.fetch == FetchSpec(
        internal_hosts=("wiki.internal", "10.0.0.7:8443"),
        plain_http=True,
        folders=("/srv/documents",),
        stores=("s3://docs/public",),
        timeout_seconds=5.0,
        per_host=2,
        retry_for_seconds=7_200,
    )
    assert SourceSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('internal_hosts = ["https://wiki"]', "a host such as"),
        ('internal_hosts = ["*"]', "a host such as"),
        ('internal_hosts = ["a@b"]', "a host such as"),
        ('folders = ["srv"]', "an absolute folder"),
        ('folders = ["/"]', "an absolute folder"),
        ('folders = ["/srv/../etc"]', "an absolute folder"),
        ('stores = ["docs"]', "a bucket"),
        ('stores = ["s3://"]', "a bucket"),
        ('stores = ["https://docs"]', "a bucket"),
        ('stores = ["s3://user:pw@docs"]', "without a name"),
        ("per_host = 0", "per_host"),
        ("per_host = 100", "per_host"),
        ('timeout = "0s"', "timeout"),
    ],
)
def test_what_is_wrong_is_refused(text: str, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        parse(BEGIN + text)
