"""Kinds of pages that lost text, in our own words: what a reader sees comes out, what frames it does not."""

import pytest

from corpus.clean.account import DropRule
from corpus.clean.blocks import CleanedDocument
from corpus.clean.html import clean_html

LINKS = "".join(f"<a href=/{n}>Link {n}</a> " for n in range(60))
TAGS = "".join(f"<a>tag{n}</a> " for n in range(60))
PROSE = "<p>The gauging station at the weir recorded its highest flow after the spring melt.</p>"


def clean(markup: str, *, main: bool = True) -> CleanedDocument:
    return clean_html(markup, main=main, max_nesting=512)


@pytest.mark.parametrize(
    "sentence",
    [
        "The water gate closes at one each morning; the key is in the duty room.",
        "水门每天上午一点关闭，维修期间请使用北侧的泵站，钥匙在值班室，夜间请拨打值班电话。",
        "水門は毎朝一時に閉まります。修理中は北側のポンプを使ってください。",
        "ประตูน้ำปิดทุกเช้าเวลาหนึ่งนาฬิกาขณะซ่อมแซมให้ใช้เครื่องสูบน้ำด้านเหนือ",
        "Шлюз закрывается каждое утро в час; ключ лежит в дежурной комнате.",
    ],
)
@pytest.mark.parametrize(
    "main", ["<main>{}</main>", "<div id=content>{}</div>", "<article>{}</article>"]
)
def test_each_language_is_measured_alike(sentence: str, main: str) -> None:
    body = main.format(f"<h1>1</h1><p>{sentence}</p>" * 3)
    text = clean(f"<div class=site>{LINKS}</div>{body}<div class=hot>{TAGS}</div>").text
    assert text.count(sentence) == 3
    assert "Link 7" not in text
    assert "tag7" not in text


def test_a_main_element_is_believed_however_small() -> None:
    methods = "".join(f"<li><a href=/{n}>method_{n} returns a value</a>" for n in range(900))
    page = f"<nav><ul>{methods}</ul></nav><main><h1>eq</h1><p>Method equivalent of ==.</p></main>"
    document = clean(f"{page}<div>Built with a theme.</div>")
    assert document.text == "eq\n\nMethod equivalent of ==."
    assert dict(document.account.dropped)[DropRule.NAVIGATION] > 15_000


def test_a_main_element_that_still_loads_is_not_believed() -> None:
    assert "gauging" in clean(f"<main>Loading ...</main><div>{PROSE * 5}</div>").text


def test_articles_of_one_thread_belong_together() -> None:
    posts = "".join(
        f"<article class=post><h2>Post {n}</h2>{PROSE * n}</article>" for n in (1, 5, 2)
    )
    teaser = "<div><article class=card><a href=/x>Another board</a></article></div>"
    text = clean(f"<h1>Board</h1>{posts}{teaser}").text
    assert all(f"Post {n}" in text for n in (1, 5, 2))
    assert "Another board" not in text


@pytest.mark.parametrize(
    "thread",
    [
        "<article class='post first'>{0}</article><article class='post even'>{1}</article>",
        "<article class=question>{0}</article><article class=answer>{1}</article>",
        "<article class=post-1>{0}</article><article class=post-2>{1}</article>",
        "<ul><li class=even><article>{0}</article><li class=even><article>{1}</article></ul>",
        "<div class=post-content>{0}</div><div class='post-content reply'>{1}</div>",
    ],
)
def test_what_answers_another_belongs_to_it(thread: str) -> None:
    page = thread.format(PROSE * 3, "<p>Warm the hinge first.</p>")
    text = clean(f"<div class=site>{LINKS}</div><div>{page}</div>").text
    assert "Warm the hinge" in text
    assert "Link 7" not in text


def test_a_teaser_beside_an_article_does_not_belong_to_it() -> None:
    teaser = "<article class=teaser><a href=/x>Another board and its posts</a> new</article>"
    assert "Another board" not in clean(f"<article class=a>{PROSE}</article>{teaser}").text


def test_works_in_several_languages_are_no_language_bar() -> None:
    works = "".join(
        f"<li><a href=/{language} hreflang={language}>{title}</a>"
        for language, title in (("en", "Gates of the north"), ("de", "Tore des Nordens"))
    )
    assert "Tore des Nordens" in clean(f"<main>{PROSE}<ul>{works}</ul></main>").text


def test_comments_inside_the_main_part_stay() -> None:
    comments = (
        f"<section class=comments><article>{PROSE}<footer>by a keeper</footer></article></section>"
    )
    assert (
        "by a keeper" in clean(f"<main><article><h1>A</h1>{PROSE}</article>{comments}</main>").text
    )


def test_an_article_in_a_main_element_of_labels_is_the_document() -> None:
    labels = "<ul><li><button>.rst</button><li>.pdf</ul><h1>A</h1>"
    text = clean(f"<main>{labels}<article><h1>A</h1>{PROSE}</article><p>By us</p></main>").text
    assert text == clean(f"<h1>A</h1>{PROSE}").text


@pytest.mark.parametrize(
    ("markup", "kept"),
    [
        ("<aside class=caution><p>Turn off the power first.</p></aside>", "Turn off the power"),
        (
            "<aside class=footnote role=note><a href=#r>[1]</a> But not fire brigades.</aside>",
            "fire brigades",
        ),
        ("<figure><img><figcaption>The north gate</figcaption></figure>", "The north gate"),
        (
            "<section class=social><h2>Social insurance</h2><p>Paid by the town.</p></section>",
            "Paid by the town",
        ),
        ("<section class=menu><h2>Menu</h2><p>Soup 4.50</p></section>", "Soup 4.50"),
        ("<blockquote>Stop.<footer>The old keeper</footer></blockquote>", "The old keeper"),
        (
            "<ol><li><a hreflang=de href=/a>Die Wehre am Oberlauf</a>, 1999"
            "<li><a hreflang=de href=/b>Pumpen und Schieber</a>, 2003</ol>",
            "Die Wehre",
        ),
        (
            "<h2><button aria-expanded=false>How do I cancel?</button></h2><div>Write to us.</div>",
            "How do I",
        ),
        ("<details><summary>Why?</summary><p>It is cold.</p></details>", "It is cold"),
        (
            "<div class=nav role=tablist><a role=tab>Debian</a><a role=tab>Fedora</a></div>",
            "Debian",
        ),
    ],
)
@pytest.mark.parametrize("page", ["<main>{0}{1}{0}</main>", "{0}{1}{0}"])
def test_what_only_a_name_makes_suspect_stays(markup: str, kept: str, page: str) -> None:
    assert kept in clean(page.format(PROSE, markup)).text


def test_a_title_block_stays_where_no_main_part_is_named() -> None:
    block = "<header id=title-block-header><h1>Inspection</h1><p>R. Tester</p><div>Nine gates failed.</div></header>"
    text = clean(f"<html><body>{block}<h1>Method</h1>{PROSE}</body></html>").text
    assert "Inspection" in text
    assert "Nine gates failed" in text


def test_the_heading_of_a_page_in_front_of_its_main_part_stays() -> None:
    page = (
        f"<title>Weir rules - Town</title><header><h1>Weir rules</h1></header><main>{PROSE}</main>"
    )
    assert clean(page).text.startswith("Weir rules\n\n")
    assert not clean(page.replace("<h1>Weir", "<h1>Town")).text.startswith("Town")
    untitled = page.replace("<title>Weir rules - Town</title>", "")
    assert clean(untitled).text.startswith("Weir rules\n\n")
    post = (
        f"<title>Town: Rules</title><article><h1>Rules</h1><div class=entry-content>{PROSE}</div>"
    )
    assert clean(post).text.startswith("Rules\n\n")


def test_a_button_in_a_sentence_stays_and_one_beside_it_goes() -> None:
    text = clean(
        f"<main>{PROSE}<p>Press <button>Save</button> to keep.</p><button>Ok</button>"
    ).text
    assert "Press Save to keep." in text
    assert "Ok" not in text


def test_a_template_is_shown_where_it_is_attached_to_an_element() -> None:
    attached = (
        "<x-a><template shadowrootmode=open><p>Card<template>DROP</template></template></x-a>"
    )
    text = clean(f"{PROSE}{attached}<template>DROP</template>").text
    assert "Card" in text
    assert "DROP" not in text


def test_what_lies_outside_is_accounted_for_in_order() -> None:
    page = f"<nav><a>Home</a></nav><main>{PROSE}</main><p>Imprint</p><noscript>Turn <b>on</b></noscript>"
    pieces = [(piece.rule, piece.sample) for piece in clean(page).account.pieces]
    assert pieces == [
        (DropRule.HIDDEN, "Turn on"),
        (DropRule.NAVIGATION, "Home"),
        (DropRule.BOILERPLATE, "Imprint"),
    ]
