"""A change, or the page that an origin gives for everything."""

import hashlib
from itertools import count

from freshness.same_page import Change, alike, shape_of

_KEYS = count(1)
WALL = '<title>Log in</title><a href="/login?next={path}"><input value="{token}"> at {time}'
TIMES = ("2026-11-27T03:31:02Z", "2026-11-27T03:31:59Z")


def page(path: str, token: str, time: str = TIMES[0]) -> bytes:
    return WALL.format(path=path, token=token, time=time).encode()


def change(url: str, before: str, content: bytes) -> Change:
    return Change(
        document_key=next(_KEYS),
        url=url,
        before=before.encode(),
        after=hashlib.sha256(content).digest(),
        shape=shape_of(content, url),
    )


def test_what_a_page_has_of_each_request_is_not_its_shape() -> None:
    first = shape_of(page("/docs/a", "0f" * 16), "https://h.example/docs/a")
    assert first == shape_of(page("/docs/b", "1e" * 16, TIMES[1]), "https://h.example/docs/b")
    assert first == shape_of(page("%2Fdocs%2Fc", "2d" * 20), "https://h.example/docs/c")
    assert first != shape_of(page("/docs/a", "0f" * 16) + b" again", "https://h.example/docs/a")


def test_numbers_and_long_words_are_of_the_document() -> None:
    url = "https://h.example/levels"
    assert shape_of(b"Level 17", url) != shape_of(b"Level 18", url)
    word = b"Donaudampfschifffahrtsgesellschaft"
    assert shape_of(word, url) != shape_of(word[::-1], url)


def test_different_documents_of_one_host_do_not_become_one() -> None:
    urls = [f"https://h.example/docs/{name}" for name in "ab"]
    changes = [change(url, url, page(url[-7:], "0f" * 16)) for url in urls]
    reasons = alike(changes)
    assert set(reasons) == {one.document_key for one in changes}
    assert "docs" not in " ".join(reasons.values())


def test_what_may_be_alike() -> None:
    text = b"A text."
    here, there = "https://h.example/a", "https://h.example/b"
    alone = [change(here, "x", text)]
    copies = [change(here, "x", text), change(there, "x", text)]
    one_address = [change(here, "x", text), change(here, "y", text)]
    other_host = [change(here, "x", text), change("https://i.example/b", "y", text)]
    for changes in (alone, copies, one_address, other_host):
        assert alike(changes) == {}
