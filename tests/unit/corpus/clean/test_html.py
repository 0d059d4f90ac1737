"""HTML → visible text and blocks."""

import pytest

from corpus.clean.blocks import BlockKind, CleanedDocument
from corpus.clean.html import clean_html
from tests.support.blocks import kinds


def page(body: str, *, main: bool = True) -> CleanedDocument:
    return clean_html(body, main=main, max_nesting=512)


PROSE = (
    "<p>Reservoir levels rose after the spring melt, and the gauging station at the weir recorded "
    "its highest flow.</p>"
)


def test_html_structure() -> None:
    document = page(
        "<h1>Weir <em>report</em></h1><p>One<br>two</p><ul><li><p>alpha</p></li><li>beta</li></ul>"
        "<table><tr><th>Gate<th>State<tr><td>North<td>open</table>"
        "<pre><code>def f(x):\n    return 1\n</code></pre>a&amp;lt;b"
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
    around = (
        "<nav>Home</nav>"
        "<div class=toplang><a hreflang=de href=x>de</a> <a hreflang=fr href=y>fr</a></div>"
        "{}<div id=footer>Copyright {}</div>"
    )
    article = f"<div id=page-content><h1>Weir</h1>{PROSE}</div>"
    assert (
        page(around.format(article, 2020)).text
        == page(around.format(article, 2026).replace("Home", "Start")).text
    )
    assert "Copyright 2020" in page(around.format(article, 2020), main=False).text


def test_boilerplate_rules_never_take_everything() -> None:
    assert "gauging station" in page(f"<aside>{PROSE}</aside>").text
    assert "gauging station" in page(f"<main><p>Teaser</p></main><div>{PROSE * 5}</div>").text


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


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<ul><li></li><li>x</li></ul>", [("list_item", 0, "- x")]),
        ("<ul><li>a<ul><li>b</ul>c</ul>", ["- a", "- b", "c"]),
        ("<h2>A<p>B</p></h2>", [("heading", 2, "A B")]),
        ("<pre>\n  a\n\n\n  b\n</pre>", [("code", 0, "  a\n\n\n  b")]),
        ("<pre>a<br>b<div>c</div></pre>", [("code", 0, "a\nb\nc")]),
        ("<table><caption>C</caption><tr><td>1<td><td>3</table>", [("table", 0, "C\n1 | | 3")]),
        ("<table><tr><td><p>a</p><p>b</p></td></tr></table>", ["a", "b"]),  # arranges a page
        ("<p>a<br><br>b</p>", [("paragraph", 0, "a\nb")]),
        ("<p> \n </p>", []),
        ("", []),
        ("&#x110000; &#xD800; &#0;", [("paragraph", 0, "\ufffd \ufffd \ufffd")]),
    ],
)
def test_blocks_of_markup(markup: str, expected: list[object]) -> None:
    blocks = kinds(page(markup, main=False))
    texts = [text for _, _, text in blocks]
    assert expected in (blocks, texts)


def test_a_frame_set_has_no_body_and_no_text() -> None:
    assert page("<frameset><frame src=x></frameset>") == CleanedDocument("")


def test_self_closed_elements_of_xhtml_hide_nothing() -> None:
    xhtml = "<?xml version='1.0'?><html><head><title/><script src='x'/></head><body><p>seen</p>"
    assert page(xhtml).text == "seen"


def test_marks_of_anchors_go_and_other_links_stay() -> None:
    text = page(f"<h2>Weir<a href='#w'>¶</a></h2>{PROSE}<a href='#x'>see below</a>").text
    assert "¶" not in text
    assert "see below" in text


def test_a_bar_of_one_translation_or_with_much_text_is_no_bar() -> None:
    one = f"<div><a hreflang=de href=x>deutsch</a></div>{PROSE}"
    prose = f"<div>{PROSE}<a hreflang=de href=x>de</a><a hreflang=fr href=y>fr</a></div>"
    assert "deutsch" in page(one).text
    assert "gauging station" in page(prose).text


def test_hidden_elements_inside_hidden_elements_are_removed_once() -> None:
    nested = "<div hidden><p style='display:none'>LEAK<script>LEAK</script></p></div>"
    assert page(f"{nested}{PROSE}").text.startswith("Reservoir")
