"""Cleaning: characters, formats, HTML, limits."""

import pytest

from corpus.clean.blocks import BlockKind, CleanedDocument, CleaningFailure
from corpus.clean.cleaner import Cleaner, RawDocument, clean_text, format_of
from corpus.clean.html import clean_html
from corpus.clean.html_depth import nests_deeper
from corpus.clean.normalise import normalise
from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec


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
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f469\U0001f3fd\u200d\U0001f692 \U0001f3f3\ufe0f\u200d\U0001f308 1\ufe0f\u20e3",
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
    ("content_type", "found"),
    [
        (None, "plain"),
        ("TEXT/HTML; Charset=UTF-8", "html"),
        ("text/x-rst", "rst"),
        ("text/csv", "plain"),
        ("application/xhtml+xml", "html"),
    ],
)
def test_media_types(content_type: str | None, found: str) -> None:
    assert format_of(content_type, PreparationSpec()) == found


def test_unknown_media_type_is_refused_or_taken_as_text() -> None:
    refused = format_of("image/png", PreparationSpec())
    assert isinstance(refused, CleaningFailure)
    assert refused.reason is DeadLetterReason.UNSUPPORTED_CONTENT
    assert "image/png" in refused.detail
    assert (
        format_of("application/x-sluice", PreparationSpec(unknown_content_type="text")) == "plain"
    )
    assert format_of("image/png", PreparationSpec(content_type="text/markdown")) == "markdown"


def kinds(document: CleanedDocument) -> list[tuple[str, int, str]]:
    return [
        (block.kind.value, block.level, document.text[block.start : block.end])
        for block in document.blocks
    ]


def test_markdown_structure() -> None:
    text = "---\ntitle: x\n---\n# Weir\nSluices:\n\n- one\n- two\n\n```sh\n# no heading\n\n<!-- kept -->\n```\n\nSetext\n------\n\n| a | b |\n|---|---|\n"
    document = clean_text(
        f"{text}\n<script>leak()</script>\nprose <!-- gone -->here, `<script>` stays", "markdown"
    )
    assert kinds(document) == [
        ("heading", 1, "# Weir"),
        ("paragraph", 0, "Sluices:"),
        ("list_item", 0, "- one"),
        ("list_item", 0, "- two"),
        ("code", 0, "```sh\n# no heading\n\n<!-- kept -->\n```"),
        ("heading", 2, "Setext\n------"),
        ("table", 0, "| a | b |\n|---|---|"),
        ("paragraph", 0, "prose here, `<script>` stays"),
    ]


def test_a_thematic_break_is_no_front_matter() -> None:
    assert clean_text("---\n\nJust text.\n\n---\nmore", "markdown").text.startswith(
        "---\n\nJust text."
    )


def test_rst_structure() -> None:
    text = "=====\nTitle\n=====\n\nIntro::\n\n    code 1\n\n      code 2\n\nPart\n----\n\n1. one\n2. two\n\n+---+---+\n| a | b |\n+---+---+\n"
    assert kinds(clean_text(text, "rst")) == [
        ("heading", 1, "=====\nTitle\n====="),
        ("paragraph", 0, "Intro::"),
        ("code", 0, "    code 1\n\n      code 2"),
        ("heading", 2, "Part\n----"),
        ("list_item", 0, "1. one"),
        ("list_item", 0, "2. two"),
        ("table", 0, "+---+---+\n| a | b |\n+---+---+"),
    ]


def page(body: str, *, main: bool = True) -> CleanedDocument:
    return clean_html(body, main=main, max_nesting=512)


PROSE = "<p>Reservoir levels rose after the spring melt, and the gauging station at the weir recorded its highest flow.</p>"


def test_html_structure() -> None:
    document = page(
        "<h1>Weir <em>report</em></h1><p>One<br>two</p><ul><li><p>alpha</p></li><li>beta</li></ul><table><tr><th>Gate<th>State<tr><td>North<td>open"
        "</table><pre><code>def f(x):\n    return 1\n</code></pre>a&amp;lt;b"
    )
    assert kinds(document) == [
        ("heading", 1, "Weir report"),
        ("paragraph", 0, "One\ntwo"),
        ("list_item", 0, "- alpha"),
        ("list_item", 0, "- beta"),
        ("table", 0, "Gate | State\nNorth | open"),
        ("code", 0, "def f(x):\n    return 1"),
        ("paragraph", 0, "a&lt;b"),
    ]


@pytest.mark.parametrize(
    "unseen",
    [
        "<script>LEAK</script>",
        "<style>LEAK</style>",
        "<!-- LEAK -->",
        "<noscript>LEAK</noscript>",
        "<p style='display : none'>LEAK</p>",
        "<span style='font-size:0px;color:red'>LEAK</span>",
        "<p hidden>LEAK</p>",
        "<div aria-hidden=true>LEAK</div>",
        "<template>LEAK</template>",
        "<svg><text>LEAK</text></svg>",
        "<iframe src='file:///etc/passwd'>LEAK</iframe>",
    ],
)
@pytest.mark.parametrize("main", [True, False])
def test_hidden_text_stays_out(unseen: str, main: bool) -> None:
    text = page(f"{unseen}{PROSE}", main=main).text
    assert "gauging station" in text
    assert "LEAK" not in text


def test_main_text_is_free_of_what_changes_without_the_text() -> None:
    around = "<nav>Home</nav><div class=toplang><a hreflang=de href=x>de</a> <a hreflang=fr href=y>fr</a></div>{}<div id=footer>Copyright {}</div>"
    article = f"<div id=page-content><h1>Weir</h1>{PROSE}</div>"
    assert page(around.format(article, 2020)) == page(
        around.format(article, 2026).replace("Home", "Start")
    )
    assert "Copyright 2020" in page(around.format(article, 2020), main=False).text


def test_boilerplate_rules_never_take_everything() -> None:
    assert "gauging station" in page(f"<aside>{PROSE}</aside>").text
    assert "gauging station" in page(f"<main><p>Teaser</p></main><div>{PROSE * 5}</div>").text


@pytest.mark.parametrize(
    "markup",
    ["<div>" * 5_000, "<b><i>" * 3_000, "".join(f"<div><b a={number}>" for number in range(2_000))],
)
def test_deep_nesting_is_read_without_structure(markup: str) -> None:
    assert nests_deeper(markup, 512)
    document = page(f"{markup}{PROSE}")
    assert "gauging station" in document.text
    assert "<" not in document.text


def test_sloppy_markup_is_not_deep() -> None:
    assert not nests_deeper("<p>one<li>two<br>" * 5_000 + "<div><span></div>" * 5_000, 512)
    assert not nests_deeper("<script>" + "'<div>'" * 5_000 + "</script>", 512)


def test_cleaner_keeps_order_and_says_what_failed() -> None:
    spec = PreparationSpec(max_document_bytes=1_000)
    documents = [
        RawDocument(PROSE, "text/html"),
        RawDocument("x" * 1_001, "text/plain"),
        RawDocument("plain", None),
        RawDocument("?", "application/pdf"),
        RawDocument(" \n", "text/plain"),
        RawDocument("<p>two</p>", "text/html"),
    ]
    with Cleaner() as cleaner:
        results = cleaner.clean(documents, spec)
    assert [
        result.reason.value if isinstance(result, CleaningFailure) else result.text[:9]
        for result in results
    ] == [
        "Reservoir",
        "too_large",
        "plain",
        "unsupported_content",
        "",
        "two",
    ]


def test_a_slow_document_is_given_up_alone() -> None:
    # One element with 400,000 attributes: a parser compares each with all before it.
    slow = "<p " + " ".join(f"a{number}=1" for number in range(400_000)) + ">x"
    documents = [
        RawDocument("<p>before</p>", "text/html"),
        RawDocument(slow, "text/html"),
        RawDocument("<p>after</p>", "text/html"),
    ]
    with Cleaner() as cleaner:
        cleaner.clean(documents[:1], PreparationSpec())  # the processes run
        before, given_up, after = cleaner.clean(
            documents, PreparationSpec(clean_timeout_seconds=1.0)
        )
    assert isinstance(given_up, CleaningFailure)
    assert given_up.reason is DeadLetterReason.CLEANING_TIMEOUT
    assert isinstance(before, CleanedDocument)
    assert isinstance(after, CleanedDocument)
    assert (before.text, after.text) == ("before", "after")


def test_blocks_tile_the_text() -> None:
    document = page(f"<h2>A</h2>{PROSE}<ul><li>x</ul>")
    assert [block.kind for block in document.blocks] == [
        BlockKind.HEADING,
        BlockKind.PARAGRAPH,
        BlockKind.LIST_ITEM,
    ]
    assert "".join(
        document.text[block.start : block.end] for block in document.blocks
    ) == document.text.replace("\n", "")
