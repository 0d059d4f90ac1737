"""What a style attribute hides: per property and value, as a browser reads it."""

import pytest

from corpus.clean.html import clean_html

PROSE = (
    "<p>The gauging station at the weir recorded its highest flow after the spring melt.</p>" * 2
)


def is_shown(markup: str) -> bool:
    return "WORD" in clean_html(f"{PROSE}{markup}", main=False, max_nesting=512).text


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : None",
        "display:none !important; display:block",
        "d\\69splay:none",
        "display:/**/none",
        "color:red;display:none",
        "display:none; display:nonsense",
        "visibility:hidden",
        "visibility:collapse",
        "content-visibility:hidden",
        "font-size:0",
        "font-size:0em",
        "font-size:0%",
        "font:0/0 a",
        "opacity:0",
        "opacity:0%",
        "opacity:.0",
        "position:absolute;left:-9999px",
        "position:fixed;top:-100em",
        "text-indent:-9999px",
        "height:0;overflow:hidden",
        "max-height:0px; padding:0; overflow : HIDDEN",
        "clip:rect(1px,1px,1px,1px);position:absolute",
        "clip-path:inset(50%)",
        "transform:scale(0)",
        "transform:scale(0,0)",
        "display:none;display:flex !wrong",
    ],
)
def test_a_style_that_hides(style: str) -> None:
    assert not is_shown(f'<p style="{style}">WORD</p>')


@pytest.mark.parametrize(
    "style",
    [
        "backface-visibility:hidden",
        "height:0",
        "height:0%;overflow:hidden",
        "max-height:0;overflow:hidden;transition:max-height .3s",
        "height:0;overflow:hidden;padding-bottom:56%",
        "height:0;min-height:9em;overflow:hidden",
        "clip:rect(1px,auto,auto,1px);position:absolute",
        "clip:rect(0,0,0,0)",
        "clip-path:inset(50% 0 0 0)",
        "transform:scale(1)",
        "transform:scale(0);transition:transform 1s",
        "overflow:hidden",
        "display:none;display:block",
        "display:block !important;display:none",
        "display:nonesuch",
        "/* display:none */",
        "content:'display:none'",
        "background:url(display:none)",
        "--display:none",
        "-x-display:none",
        "font-size:0.9em",
        "font-size:0.0001px",
        "font-size:00.5em",
        "font:400 14px/1 Arial",
        "line-height:0",
        "opacity:0.5",
        "opacity:0;opacity:1",
        "fill-opacity:0",
        "left:-9999px",
        "position:absolute;left:-9px",
        "margin-left:-9999px",
        "text-indent:-2em",
        "transform:translateX(-9999px)",
        "display",
        "}{;:",
        "",
    ],
)
def test_a_style_that_only_looks_like_it(style: str) -> None:
    assert is_shown(f'<p style="{style}">WORD</p>')


@pytest.mark.parametrize(
    ("markup", "shown"),
    [
        ("<div style='visibility:hidden'><p style='visibility:visible'>WORD</p></div>", True),
        ("<div style='font-size:0'><p style='font-size:14px'>WORD</p></div>", True),
        ("<div style='font-size:0'><p style='font:bold 14px Arial'>WORD</p></div>", True),
        ("<div style='font-size:0'><p style='font-size:1.2em'>WORD</p></div>", False),
        ("<div style='font-size:0'><p style='color:red'>WORD</p></div>", False),
        ("<div style='display:none'><p style='display:block'>WORD</p></div>", False),
        ("<div style='opacity:0'><p style='opacity:1'>WORD</p></div>", False),
        (
            "<div style='visibility:hidden'><b style='visibility:visible'>"
            "<i style='visibility:hidden'>WORD</i></b></div>",
            False,
        ),
        ("<div style='font-size:0'><div style='font-size:9px'>a</div>WORD</div>", False),
        (
            "<div style='visibility:hidden;font-size:0'><p style='font-size:9px'>WORD</p></div>",
            False,
        ),
    ],
)
def test_a_child_undoes_what_is_inherited(markup: str, shown: bool) -> None:
    assert is_shown(markup) == shown


def test_a_page_that_a_script_shows_is_kept() -> None:
    markup = f"<h1>Weir</h1><div id=js style='visibility:hidden'>{PROSE}</div>"
    assert "gauging" in clean_html(markup, main=True, max_nesting=512).text


def test_what_a_screen_reader_skips_is_shown_unless_it_is_an_ornament() -> None:
    sentence = "<p aria-hidden=true>Turn off the power before you touch the hinge of the gate.</p>"
    text = clean_html(f"{PROSE}{sentence}<i aria-hidden=true>menu</i>", main=False, max_nesting=512)
    assert "Turn off the power" in text.text
    assert "menu" not in text.text
