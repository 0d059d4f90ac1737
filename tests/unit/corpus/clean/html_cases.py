"""One case per line of the rules about HTML; `test_html_rules.py` says which line has none.

A page holds PROSE around each snippet. DROP must not come out of it, KEEP must.
"""

NEVER_TEXT = {
    "script": "<script>DROP</script>",
    "style": "<style>DROP</style>",
    "svg": "<svg><text>DROP</text></svg>",
    "title": "<title>DROP</title>",
    "noframes": "<noframes>DROP</noframes>",
    "noembed": "<noembed>DROP</noembed>",
    "iframe": "<iframe>DROP</iframe>",
    "object": "<object>DROP</object>",
    "applet": "<applet>DROP</applet>",
    "video": "<video>DROP</video>",
    "audio": "<audio>DROP</audio>",
    "canvas": "<canvas>DROP</canvas>",
    "rp": "<ruby>KEEP<rp>DROP</rp><rt>kan</rt></ruby>",
    "dialog:not([open])": "<dialog>DROP</dialog><dialog open>KEEP</dialog>",
    "select": "<select><option>DROP</select>",
    "datalist": "<datalist><option>DROP</datalist>",
    "textarea:not([readonly])": "<textarea>DROP</textarea><textarea readonly>KEEP</textarea>",
    ".katex-html[aria-hidden]": "<span class=katex-html aria-hidden=true>DROP</span>",
    ".MathJax_Preview": "<span class=MathJax_Preview>DROP</span>",
    "td.linenos": "<table><tr><td class=linenos>DROP<td><pre>KEEP</pre></table>",
    "td.gutter": "<table><tr><td class=gutter>DROP<td><pre>KEEP</pre></table>",
    ".linenodiv": "<div class=linenodiv>DROP</div>",
    ".lineno": "<pre><span class=lineno>DROP</span>KEEP</pre>",
    ".linenos": "<pre><span class=linenos>DROP</span>KEEP</pre>",
    "ac\\:task-id": "<ac:task><ac:task-id>DROP</ac:task-id><ac:task-body>KEEP</ac:task-body>",
    "ac\\:task-uuid": "<ac:task-uuid>DROP</ac:task-uuid>",
    "ac\\:task-status": "<ac:task-status>DROP</ac:task-status>",
    "ac\\:parameter:not([ac\\:name='title'])": "<ac:parameter ac:name=x>DROP</ac:parameter>"
    "<ac:parameter ac:name=title>KEEP</ac:parameter>",
}
RENDERED_FORMULAS = {
    name: f"<span class='{name[1:]}'>DROP</span><script type='math/tex'>KEEP</script>"
    for name in (".MathJax", ".MathJax_Display", ".MathJax_SVG", ".MathJax_CHTML")
}
HIDDEN = {
    "[hidden]:not([hidden='until-found' i])": "<p hidden>DROP</p><p hidden=until-found>KEEP</p>"
}
_HIDE = "style='display:none'"
OPENED_BY_READER = {
    "[role='tabpanel' i]": f"<div role=tabpanel {_HIDE}>KEEP</div>",
    "[role='region' i][aria-labelledby]": f"<div role=region aria-labelledby=h {_HIDE}>KEEP</div>",
    ".tab-pane": f"<div class='tab-pane fade' {_HIDE}>KEEP</div>",
    ".tab-panel": f"<div class=tab-panel {_HIDE}>KEEP</div>",
    ".tabpanel": f"<div class=tabpanel {_HIDE}>KEEP</div>",
    ".tab-content": f"<div class=tab-content {_HIDE}>KEEP</div>",
    ".tabcontent": f"<div class=tabcontent {_HIDE}>KEEP</div>",
    ".tabbed-block": f"<div class=tabbed-block {_HIDE}>KEEP</div>",
    ".sphinx-tabs-panel": f"<div class=sphinx-tabs-panel {_HIDE}>KEEP</div>",
    ".accordion-body": f"<div class=accordion-body {_HIDE}>KEEP</div>",
    ".accordion-content": f"<div class=accordion-content {_HIDE}>KEEP</div>",
    ".accordion-panel": f"<div class=accordion-panel {_HIDE}>KEEP</div>",
    ".accordion-collapse": f"<div class=accordion-collapse {_HIDE}>KEEP</div>",
    ".panel-collapse": f"<div class=panel-collapse {_HIDE}>KEEP</div>",
    ".collapse": f"<div class=collapse {_HIDE}>KEEP</div>",
    ".collapsible": f"<div class=collapsible {_HIDE}>KEEP</div>",
    ".spoiler": f"<div class=spoiler {_HIDE}>KEEP</div>",
    ".spoiler-content": f"<div class=spoiler-content {_HIDE}>KEEP</div>",
    ".mw-collapsible-content": f"<div class=mw-collapsible-content {_HIDE}>KEEP</div>",
    ".schema-faq-answer": f"<p class=schema-faq-answer {_HIDE}>KEEP</p>",
    ".read-more": f"<span class=read-more {_HIDE}>KEEP</span>",
    ".readmore": f"<span class=readmore {_HIDE}>KEEP</span>",
    ".more-text": f"<span class=more-text {_HIDE}>KEEP</span>",
    ".more-content": f"<div class=more-content {_HIDE}>KEEP</div>",
    ".carousel-item": f"<div class=carousel-item {_HIDE}>KEEP</div>",
    ".swiper-slide": f"<div class=swiper-slide {_HIDE}>KEEP</div>",
    ".slick-slide": f"<div class=slick-slide {_HIDE}>KEEP</div>",
    ".toggle-content": f"<div class=toggle-content {_HIDE}>KEEP</div>",
    ".faq-answer": f"<div class=faq-answer {_HIDE}>KEEP</div>",
}
_FADE = "style='opacity:0'"
SHOWN_BY_SCRIPT = {
    "[data-aos]": f"<p data-aos=fade-up {_FADE}>KEEP</p>",
    "[data-sal]": f"<p data-sal=fade {_FADE}>KEEP</p>",
    "[data-animate]": f"<p data-animate=in {_FADE}>KEEP</p>",
    "[data-scroll]": f"<p data-scroll {_FADE}>KEEP</p>",
    ".wow": "<p class=wow style='visibility:hidden'>KEEP</p>",
    ".aos-init": f"<p class=aos-init {_FADE}>KEEP</p>",
    ".reveal": f"<p class=reveal {_FADE}>KEEP</p>",
    ".fade-in": f"<p class=fade-in {_FADE}>KEEP</p>",
    ".animated": f"<p class=animated {_FADE}>KEEP</p>",
}
NAMES_WHAT_IT_OPENS = {
    "aria-controls": f"<i aria-controls=x>more</i><hr><div id=x {_HIDE}>KEEP</div>",
    "data-target": f"<i data-target='#x'>more</i><hr><div id=x {_HIDE}>KEEP</div>",
    "data-bs-target": f"<i data-bs-target='#x'>more</i><hr><div id=x {_HIDE}>KEEP</div>",
    "data-toggle-target": f"<i data-toggle-target='x'>more</i><hr><div id=x {_HIDE}>KEEP</div>",
    "a[href^='#']": f"<a href='#x'>more</a><hr><div id=x {_HIDE}>KEEP</div>",
}
CONTROLS = {
    "button": f"<h3><button>Why?</button></h3><div {_HIDE}>KEEP</div><div {_HIDE}>DROP</div>",
    "summary": f"<details><summary>Why?</summary><div {_HIDE}>KEEP</div></details>",
    "[aria-expanded]": f"<p aria-expanded=false>Why?</p><div {_HIDE}>KEEP</div>",
    "[role='button' i]": f"<p role=button>Why?</p><div {_HIDE}>KEEP</div>",
    "[role='tab' i]": f"<p role=tab>Why?</p><div {_HIDE}>KEEP</div>",
    "[data-toggle]": f"<p data-toggle=x>Why?</p><div {_HIDE}>KEEP</div>",
    "[data-bs-toggle]": f"<p data-bs-toggle=x>Why?</p><div {_HIDE}>KEEP</div>",
    "[onclick]": f"<p onclick='x()'>Why?</p><div {_HIDE}>KEEP</div>",
    "a[href='#']": f"<a href='#'>Why?</a><div {_HIDE}>KEEP</div>",
    "a[href^='javascript:' i]": f"<a href='javascript:x()'>Why?</a><div {_HIDE}>KEEP</div>",
}
MOVING_PROPERTIES = {
    "transform": "<p style='opacity:0;transform:translateY(24px)'>KEEP</p>",
    "translate": "<p style='opacity:0;translate:0 24px'>KEEP</p>",
    "transition": "<p style='opacity:0;transition:opacity 1s'>KEEP</p>",
    "transition-property": "<p style='opacity:0;transition-property:opacity'>KEEP</p>",
    "animation": "<p style='opacity:0;animation:in 1s'>KEEP</p>",
    "animation-name": "<p style='opacity:0;animation-name:in'>KEEP</p>",
    "will-change": "<p style='opacity:0;will-change:opacity'>KEEP</p>",
}
# Inside and outside an explicit main part: DROP is navigation there, KEEP is text although the name says otherwise.
_LINKS = "<a href=/a>DROP</a> <a href=/b>two links</a>"
_TEXT = "<p>KEEP this sentence: it says what every keeper of the weir has to know before the night begins.</p>"


def _named(selector: str) -> dict[str, str]:
    kind, name = ("class", selector[1:]) if selector[0] == "." else ("id", selector[1:])
    return {
        selector: f"<div {kind}={name}>{_LINKS}</div><div {kind}={name}>{_TEXT}</div>",
    }


def _element(tag: str) -> dict[str, str]:
    return {tag: f"<{tag}>{_LINKS}</{tag}><{tag}>{_TEXT}</{tag}>"}


def _role(role: str) -> dict[str, str]:
    return {
        f"[role='{role}' i]": f"<div role={role}>{_LINKS}</div><div role={role}>{_TEXT}</div>",
    }


NOT_DOCUMENT = {
    **_element("nav"),
    **_element("menu"),
    **_role("navigation"),
    **_role("menu"),
    **_role("menubar"),
    **_named("#nav"),
    **_named("#navigation"),
    **_named("#navbar"),
    **_named("#menu"),
    **_named("#toc"),
    **_named("#breadcrumb"),
    **_named("#breadcrumbs"),
    **_named(".navbar"),
    **_named(".navigation"),
    ".nav:not([role='tablist' i], .nav-tabs, .nav-pills)": f"<ul class=nav>{_LINKS}</ul>"
    "<ul class='nav nav-tabs'><li><a>KEEP</a><li><a>Fedora</a></ul>",
    **_named(".breadcrumb"),
    **_named(".breadcrumbs"),
    **_named(".toc"),
    ".menu": f"<div class=menu>{_LINKS}</div><div class=menu>KEEP soup 4.50</div>",
    **_named(".pagination"),
    **_named(".pager"),
    **_named(".skip-link"),
    **_named(".toplang"),
    **_named(".bottomlang"),
    **_named(".language-switcher"),
    **_named(".lang-switcher"),
    **_named(".related-posts"),
    **_named(".share"),
    **_named(".social"),
    **_named(".social-share"),
    "aside": f"<aside>{_LINKS}</aside><aside>KEEP: never alone.</aside>",
    **_role("complementary"),
    **_named("#sidebar"),
    **_named(".sidebar"),
    **_element("footer"),
    **_role("contentinfo"),
    **_named("#footer"),
    **_named("#page-footer"),
    **_named("#site-footer"),
    **_named(".footer"),
    **_named(".site-footer"),
    **_named(".page-footer"),
    **_role("search"),
    "[role='search' i]": "<div role=search>DROP</div>",
}
OUTSIDE_ONLY = {
    "body > header": f"<header>{_LINKS}</header><header><h1>KEEP</h1></header>",
    "body > div > header": f"<div><header>{_LINKS}</header></div><div><header><h1>KEEP</h1></header></div>",
    "[role='banner' i]": "<div role=banner>DROP</div><div role=banner><h1>KEEP</h1></div>",
    "#header": "<div id=header>DROP</div><div id=header><h1>KEEP</h1></div>",
    "#page-header": "<div id=page-header>DROP</div>",
    "#site-header": "<div id=site-header>DROP</div>",
    "[role='dialog' i]": "<div role=dialog>DROP</div>",
    "[role='alertdialog' i]": "<div role=alertdialog>DROP</div>",
    ".cookie-banner": "<div class=cookie-banner>DROP</div>",
    ".cookie-consent": "<div class=cookie-consent>DROP</div>",
    ".cookie-notice": "<div class=cookie-notice>DROP</div>",
    "#cookie-banner": "<div id=cookie-banner>DROP</div>",
    "#cookie-consent": "<div id=cookie-consent>DROP</div>",
    "#cookie-notice": "<div id=cookie-notice>DROP</div>",
    ".newsletter": "<div class=newsletter>DROP</div>",
    ".advertisement": "<div class=advertisement>DROP</div>",
    ".ads": "<div class=ads>DROP</div>",
}
_AROUND = "<div>DROP</div>"
EXPLICIT_MAIN = {
    "main": f"{_AROUND}<main>KEEP</main>",
    "[role='main' i]": f"{_AROUND}<div role=main>KEEP</div>",
}
LIKELY_MAIN = {
    "[itemprop='articleBody' i]": f"{_AROUND}<div itemprop=articleBody>{_TEXT}</div>",
    "article": f"{_AROUND}<article>{_TEXT}</article>",
    **{
        selector: f"{_AROUND}<div class={selector[1:]}>{_TEXT}</div>"
        for selector in (
            *(".article-body", ".post-content", ".entry-content", ".markdown-body"),
            *(".main-content", ".document", ".body"),
        )
    },
    **{
        selector: f"{_AROUND}<div id={selector[1:]}>{_TEXT}</div>"
        for selector in (
            *("#page-content", "#main-content", "#maincontent", "#content", "#main"),
            "#bodyContent",
        )
    },
}
_CELLS = "<tr><td><p>one</p><p>two</p></td><td>three</td></tr><tr><td>four</td><td>five</td></tr>"
LAYOUT_TABLE = {
    "[role='presentation' i]": f"<table role=presentation>{_CELLS}</table>",
    "[role='none' i]": f"<table role=none>{_CELLS}</table>",
    ".highlighttable": f"<table class=highlighttable>{_CELLS}</table>",
    ".rouge-table": f"<table class=rouge-table>{_CELLS}</table>",
}
_LONE = "<tr>{}<td><ul><li>one</ul></td></tr>"
DATA_TABLE = {
    "th": f"<table>{_LONE.format('<th>h')}</table>",
    "caption": f"<table><caption>c</caption>{_LONE.format('')}</table>",
    "thead": f"<table><thead>{_LONE.format('')}</thead></table>",
}
IN_LAYOUT_CELL = {
    tag: f"<table><tr><td><{tag}>one</{tag}><td>two<tr><td>three<td>four</table>"
    for tag in ("h1", "h2", "h3", "h4", "h5", "h6", "pre")
} | {"table": "<table><tr><td><table><tr><td>one</table><td>two<tr><td>three<td>four</table>"}
NOTES = {
    "#footnotes": f"{_AROUND}<main>{_TEXT}</main><div id=footnotes>KEEP</div>",
    ".footnotes": f"{_AROUND}<article>{_TEXT}</article><section class=footnotes>KEEP</section>",
    "[role='doc-endnotes' i]": f"{_AROUND}<main>{_TEXT}</main><section role=doc-endnotes>KEEP</section>",
    "[role='doc-bibliography' i]": f"{_AROUND}<main>{_TEXT}</main><ul role=doc-bibliography><li>KEEP</ul>",
}
