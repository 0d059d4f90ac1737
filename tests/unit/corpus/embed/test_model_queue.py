"""Whose shard goes next."""

import threading

import pytest

from corpus.embed.model_queue import Turn, Turns


def test_an_older_batch_of_a_source_and_a_smaller_one_of_another_go_first() -> None:
    turns = Turns()
    order: list[str] = []
    holding = threading.Event()
    release = threading.Event()

    def hold() -> None:
        with turns.take(Turn("first", 1, 10)):
            holding.set()
            release.wait(10)

    def take(name: str, turn: Turn) -> None:
        with turns.take(turn):
            order.append(name)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(10)
    wanted = {
        "large, younger": Turn("bulk", 8, 100),
        "large, older": Turn("bulk", 7, 5_000),
        "an edit": Turn("edits", 3, 2),
    }
    threads = [threading.Thread(target=take, args=item) for item in wanted.items()]
    for thread in threads:
        thread.start()
    while len(turns._waiting) < len(wanted):
        threading.Event().wait(0.005)
    release.set()
    for thread in (holder, *threads):
        thread.join(10)
    assert order == ["an edit", "large, older", "large, younger"]


def test_a_body_that_fails_gives_the_turn_on() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.take(Turn("s", 1, 1)):
        _ = 1 / 0
    with turns.take(Turn("s", 2, 1)):
        pass
