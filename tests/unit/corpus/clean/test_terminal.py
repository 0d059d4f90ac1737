"""Escape sequences go as a whole, and of a progress bar its last state stays."""

import pytest

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.normalise import normalise


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("12:04 \x1b[33mWARN\x1b[0m pump: \x1b[1mHot\x1b[22m", "12:04 WARN pump: Hot"),
        ("\x1b[38;5;196mred\x1b[m \x1b[4:3mcurly\x1b[?25l", "red curly"),
        ("\x1b]0;title\x07text \x1b]8;;https://a.b\x1b\\link\x1b]8;;\x1b\\", "text link"),
        ("\x9b31mred\x9b0m \x9d0;title\x9ctext", "red text"),
        ("\x1b(Ba\x1b)0b\x1b#8c\x1b%Gd", "abcd"),
        ("\x1b7a\x1b8\x1b=\x1b>\x1bM b", "a b"),
        ("\x1bP1$r0m\x1b\\a\x1b_app\x1b\\b", "ab"),
        ("a\x1b[31", "a[31"),  # not complete: nothing but the escape character goes
        ("a\x1b]0;title never ends\nb", "a]0;title never ends\nb"),
        ("a\x9bKarl\x9d, b", "aKarl, b"),  # quotation marks of a broken encoding
        ("[33m is red", "[33m is red"),
        ("\x1bHello", "Hello"),
        ("Load  10 %\rLoad  90 %\rLoad 100 %\ndone", "Load 100 %\ndone"),
        ("1/9 files\r2/9 files\r\nend", "2/9 files\nend"),
        ("\x1b[2K\r1 kB read\x1b[2K\r2 kB read\n", "2 kB read"),
        ("Load 10 %\rfailed\nend", "Load 10 %\nfailed\nend"),
        ("Load 10 %\rLoad 20 %", "Load 10 %\nLoad 20 %"),  # old ends of lines
        ("10 %\r20 %\n", "20 %"),
        ("a 1\ra 2\nb", "a 1\na 2\nb"),
    ],
)
def test_text_is_what_a_terminal_shows(received: str, shown: str) -> None:
    assert normalise(received) == shown
    assert normalise(shown) == shown


def test_what_goes_is_counted() -> None:
    account = AccountBuilder()
    assert normalise("\x1b[33mWARN\x1b[0m\n1 %\r2 %\n", account) == "WARN\n2 %"
    assert normalise("a 1 %\ra 2 %\n", account) == "a 2 %"
    assert account.finish(0).dropped == ((DropRule.MACHINE, len("[33m[0m1%a1%")),)


@pytest.mark.parametrize(
    "piece", ["\x1b[", "\x1b]", "\x9d1;", "\x1bP", "\x1b ", "\x9b1;", "1 %\r", "\x1b"]
)
def test_floods_are_read_once(piece: str) -> None:
    text = f"{piece * 200_000}\nend"
    assert normalise(text).endswith("end")
    assert visible_length(normalise(text)) <= visible_length(text)
