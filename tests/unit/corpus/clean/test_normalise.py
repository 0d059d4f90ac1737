"""What is not text goes, spelling stays."""

import unicodedata

import pytest

from corpus.clean.normalise import normalise, tidy_lines, whole_code_points


@pytest.mark.parametrize(
    ("received", "normal"),
    [
        ("a\r\nb\rc\u2028d\x85e\x0bf\x0cg", "a\nb\nc\nd\ne\nf\ng"),
        ("left\x00right\x07\x7f", "leftright"),
        ("\ufeffstart mid\ufeffdle", "start middle"),
        ("N\bNA\bAM\bME\bE", "NAME"),
        ("_\bw_\bo_\br_\bd", "word"),
        ("re\u200bser\xadvoir\u2060", "reservoir"),
        ("a\u202eb\u202c\u2066c\u2069", "abc"),
        ("cafe\u0301", "caf\xe9"),
        ("half \ude00 emoji", "half \ufffd emoji"),
        ("smile \ud83d\ude00", "smile \U0001f600"),
        ("Fine \U0001f600\U000e0168\U000e0169\U000e0164", "Fine \U0001f600"),
        ("tag\U000e0061\U000e0062ged", "tagged"),
        ("a  \nb\t\n\n\n\n\n\nc", "a\nb\n\n\nc"),
        ("\n\n  indented\n\n", "  indented"),
        (" \n\t\n", ""),
        ("a\u200db", "ab"),
    ],
)
def test_what_is_not_text_goes(received: str, normal: str) -> None:
    assert normalise(received) == normal


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f469\U0001f3fd\u200d\U0001f692",
        "\U0001f3f3\ufe0f\u200d\U0001f308 1\ufe0f\u20e3",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f flag of Scotland",
        "\u0915\u094d\u200d\u0937 \u0430",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u05d4\u05b7\u05e9\u05b8\u05bc\u05c1\u05de\u05b7\u05d9\u05b4\u05dd",
        "def f(x):\n    if x:\n\treturn 1",
        "before\n\\.\nafter\n\\N",
    ],
)
def test_spelling_stays(text: str) -> None:
    assert normalise(text) == text


def test_fifty_thousand_marks_on_a_letter_are_capped() -> None:
    assert len(normalise("a" + "\u0301\u0316" * 25_000)) <= 32


@pytest.mark.parametrize(
    ("received", "normal"),
    [
        ("a\u200d\u200db", "ab"),
        ("\u0645\u200c\u200c\u200d\u062e", "\u0645\u200c\u062e"),  # the first joiner of a run
        ("1\ufe0f\ufe0f\ufe0e", "1\ufe0f"),  # the first selector
        ("\u8fbb\U000e0100\U000e0101", "\u8fbb\U000e0100"),
        ("a\U000e0100", "a"),  # ideographs only
        ("\u200dstart", "start"),
        ("\ufe0f", ""),
    ],
)
def test_runs_of_joiners_and_selectors_hide_nothing(received: str, normal: str) -> None:
    assert normalise(received) == normal


def test_marks_that_decompose_into_two_are_capped_as_well() -> None:
    text = normalise("a" + "\u0344" * 40)
    assert unicodedata.is_normalized("NFC", text)
    assert len(text) <= 32


def test_thirty_marks_are_kept() -> None:
    text = "\u0915" + "\u0316" * 30
    assert normalise(text) == text
    assert normalise(text + "\u0316") == text


@pytest.mark.parametrize("text", ["plain", "\ud83d", "\ude00\ud83d", "\ud83d\ude00"])
def test_the_normal_form_can_be_stored(text: str) -> None:
    assert whole_code_points(text).encode()
    assert normalise(text).encode()


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        ("", ""),
        (" ", ""),
        ("\n\n", ""),
        ("a \t\n\n\n\n b \n", "a\n\n\n b"),
        ("\u3000\na\u3000\nb", "a\nb"),
        ("a\n\n\nb", "a\n\n\nb"),
    ],
)
def test_lines_are_tidy(text: str, tidy: str) -> None:
    assert tidy_lines(text) == tidy
