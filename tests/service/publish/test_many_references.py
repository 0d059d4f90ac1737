"""1,000 references to servers that are slow, fail, redirect, change and lie: each ends right, or says why not."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.source import BatchLimits
from corpus.specs.fetch import FetchSpec
from tests.support.pipeline import Pipeline
from tests.support.reference_server import (
    Server,
    failing_first,
    lies,
    redirect,
    seconds_of,
    serving,
    silent,
    status,
)

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(240)]
# How many of each kind, and the reason of those that end as dead letters.
KINDS = {
    "plain": (500, None),
    "changing": (100, None),
    "moved": (100, None),
    "flaky": (50, None),
    "bare": (50, None),
    "missing": (50, "fetch_failed"),
    "inside": (20, "fetch_refused"),
    "short": (5, "fetch_waits"),
    "long": (25, "too_large"),
    "slow": (100, "fetch_waits"),
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        made.answers |= {
            "flaky": failing_first(1),
            "bare": lambda handler: handler.send(b"The bare text.", Content_Type="text/plain"),
            "missing": status(404),
            "inside": redirect("http://169.254.169.254/latest/meta-data"),
        }
        for number in range(100):
            made.answers[f"/moved/{number}"] = redirect(f"/plain/of-{number}", 301)
        yield made


@pytest.fixture
def others() -> Iterator[tuple[Server, Server]]:
    with serving() as slow, serving() as short:
        slow.answers["slow"] = silent
        short.answers["short"] = lies(90_000, b"short")
        yield slow, short


def test_each_ends_right_or_says_why(
    database_url: str, tmp_path: Path, server: Server, others: tuple[Server, Server]
) -> None:
    slow, short = others
    server.answers["long"] = lambda handler: handler.send(b"x" * 70_000, length=70_000)
    hosts = {"slow": slow, "short": short}
    urls = {
        f"{kind}-{number}": hosts.get(kind, server).url(f"/{kind}/{number}")
        for kind, (count, _) in KINDS.items()
        for number in range(count)
    }
    assert len(urls) == 1_000
    fetch = FetchSpec(internal_hosts=("127.0.0.1",), plain_http=True, timeout_seconds=5.0)
    spec: dict[str, Any] = {"fetch": fetch, "limits": BatchLimits(max_records=1_000)}
    with Pipeline(database_url, tmp_path, **spec) as docs:
        docs.connection.execute(
            """UPDATE freshet.source SET spec = jsonb_set(spec, '{pipeline,max_document_bytes}', '60000')"""
        )

        def pointing(version: int) -> list[dict[str, Any]]:
            return [
                {"id": name, "version": version, "content_url": url} for name, url in urls.items()
            ]

        taken = seconds_of(lambda: docs.ingest(*pointing(1)))
        print(f"first: {taken:.1f} s, {server.asked:,} requests")
        good = {name for name in urls if KINDS[name.partition("-")[0]][1] is None}
        assert set(docs.visible()) == good
        rows = docs.connection.execute("SELECT document_id, reason FROM freshet.dead_letter")
        reasons = Counter((name.partition("-")[0], reason) for name, reason in rows)
        assert reasons == {
            (kind, reason): count for kind, (count, reason) in KINDS.items() if reason
        }
        assert slow.asked <= 12
        for number in range(100):
            server.texts[f"/changing/{number}"] = f"Changed text {number}."
        asked = server.asked
        report = docs.ingest(*(one for one in pointing(2) if one["id"] in good))
        assert (report.applied, report.dead_lettered) == (800, 0)
        assert report.texts_embedded == 100
        assert server.asked - asked == 900  # 100 of them by a redirect
        shown = docs.visible()
        assert {shown[f"changing-{n}"][1] for n in range(100)} == {
            f"Changed text {n}." for n in range(100)
        }
