"""Data for machines becomes a placeholder, and what only resembles it stays."""

import base64
import hashlib
import random

import pytest

from corpus.clean.account import DropRule, visible_length
from corpus.clean.cleaner import clean_text
from tests.support.work import count_calls

RANDOM = random.Random(7)
BASE64 = base64.b64encode(RANDOM.randbytes(9_000)).decode()
WRAPPED = base64.encodebytes(RANDOM.randbytes(3_000)).decode().strip()
MINIFIED = (
    "!function(e,t){var n=e.document;t.a=function(r){return n.b(r,1)};for(;;){t.c(i)}}(this,{});"
    * 30
)
STYLES = ".a{color:red;margin:0 auto}.b>.c{padding:1px;display:block}" * 60
FORMATS = ("plain", "markdown", "rst")


@pytest.mark.parametrize("text_format", FORMATS)
@pytest.mark.parametrize(
    ("payload", "placeholder"),
    [
        (f"data:image/png;base64,{BASE64}", "[data: image/png, 9 KB]"),
        (f"data:;base64,{BASE64}", "[data: text/plain, 9 KB]"),
        (f"data:image/svg+xml,{'%3Csvg%20' * 40}", "[data: image/svg+xml, 360 bytes]"),
        (f"DATA:font/woff2;charset=x;base64,{BASE64}==", "[data: font/woff2, 9 KB]"),
        (BASE64, "[base64: 9 KB]"),
        (BASE64.replace("+", "-").replace("/", "_"), "[base64: 9 KB]"),
    ],
)
def test_a_payload_in_a_text_becomes_a_placeholder(
    payload: str, placeholder: str, text_format: str
) -> None:
    document = clean_text(f"Open the valve ({payload}) slowly.\n\nClose it.", text_format)
    assert document.text == f"Open the valve ({placeholder}) slowly.\n\nClose it."
    assert document.account.dropped == ((DropRule.MACHINE, len(payload)),)
    assert document.account.kept == visible_length("Openthevalve()slowly.Closeit.")


@pytest.mark.parametrize("text_format", FORMATS)
@pytest.mark.parametrize(
    ("payload", "placeholder"),
    [
        (WRAPPED, "[base64: 3 KB]"),
        (MINIFIED, "[minified: 3 KB]"),
        (STYLES, "[minified: 4 KB]"),
    ],
)
def test_lines_of_a_payload_become_a_placeholder(
    payload: str, placeholder: str, text_format: str
) -> None:
    document = clean_text(f"Before.\n\n{payload}\n\nAfter.", text_format)
    assert document.text == f"Before.\n\n{placeholder}\n\nAfter."


def test_a_word_behind_wrapped_base64_stays() -> None:
    assert clean_text(f"{WRAPPED}\nRegards", "plain").text == "[base64: 3 KB]\nRegards"


@pytest.mark.parametrize("text_format", FORMATS)
@pytest.mark.parametrize(
    "text",
    [
        hashlib.sha512(b"weir").hexdigest() * 4,
        "ACGT" * 500,
        "\n".join(["ACGTTGCA" * 8] * 30),
        "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVK" * 9,
        "1415926535" * 60,
        f"https://weir.example/download?signature={BASE64[:1_200]}",
        "https://weir.example/" + "Very-Long-Path-7/" * 40,
        "/usr/lib/Weir2/" * 60,
        "Donaudampfschifffahrtsgesellschaft" * 20,
        "水门每天上午九点关闭" * 400,
        "ประตูน้ำปิดเวลาเก้าโมง" * 200,
        "lower_case_and_2_numbers_" * 30,
        '{"gate":"north","level":12,"open":true},' * 100,
        "1.5,2.5,3.5," * 400,
        f"key {BASE64[:200]} end",
        "data:, and data:text/plain,hello are short",
        "The data: it is, after all, prose.",
        "; ".join(["Sentences with a = b and {c}"] * 200),
    ],
)
def test_what_resembles_a_payload_stays(text: str, text_format: str) -> None:
    assert clean_text(text, text_format).text == text


@pytest.mark.parametrize(
    ("text", "text_format"),
    [
        ("```\n{}\n```", "markdown"),
        ("- a\n\n      {}", "markdown"),
        ("a::\n\n  {}", "rst"),
    ],
)
def test_code_keeps_what_a_person_may_have_written(text: str, text_format: str) -> None:
    short = f"data:image/png;base64,{BASE64[:600]}"
    code = text.format(short)
    assert clean_text(code, text_format).text == code.replace("::", ":")
    assert "[data: image/png, 9 KB]" in clean_text(text.format(short + BASE64), text_format).text
    assert "[minified: 3 KB]" in clean_text(text.format(MINIFIED), text_format).text


HOSTILE = {
    "words of 255": lambda n: ("a" * 255 + " ") * (n // 50),
    "runs": lambda n: ("Ab1" * 90 + "/ ") * (n // 50),
    "runs in an address": lambda n: "https://a.b/" + ("Ab1" * 90 + ".") * (n // 50),
    "schemes": lambda n: "data:" * n,
    "parameters": lambda n: "data:;a" * n,
    "types": lambda n: "data:a/" * n,
    "lines of base64": lambda n: ("Ab1" * 20 + "\n") * n,
    "broken lines of base64": lambda n: (("Ab1" * 20 + "\n") * 3 + ".\n") * (n // 4),
    "one line": lambda n: "a;{=" * n,
    "long lines": lambda n: ("a" * 2_500 + "\n") * (n // 500),
    "one base64": lambda n: BASE64 * (n // 200),
}


@pytest.mark.parametrize("text_format", FORMATS)
@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_input_is_twice_the_work(name: str, text_format: str) -> None:
    make = HOSTILE[name]

    def work(size: int) -> int:
        text = make(size)
        return count_calls(lambda: clean_text(text, text_format))

    work(200)  # compiles patterns
    small, large = work(1_000), work(2_000)
    assert large <= 2.3 * small + 500


@pytest.mark.parametrize("name", HOSTILE)
def test_large_hostile_inputs_are_read_well_within_the_time_limit(name: str) -> None:
    text = HOSTILE[name](60_000)
    assert clean_text(text, "plain").account.received == visible_length(text)
