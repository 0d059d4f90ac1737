"""What decides about HTML, as data: which elements are never text, hidden, navigation, the main part.

Each entry of each list has a case in `tests/unit/corpus/clean/html_cases.py`; a test says when one is missing.
A selector's "i" ignores the case of a value.
"""

from typing import NamedTuple

from corpus.clean.account import DropRule


def names(words: str) -> frozenset[str]:
    """Names as one reads them."""
    return frozenset(words.split())


# No rule takes these out, whatever their classes and attributes are.
WHOLE_PAGE = frozenset(("html", "body"))

# 1. Never text. In this order; the first that matches gives the rule.
NEVER_TEXT: tuple[tuple[str, DropRule], ...] = (
    ("script", DropRule.MACHINE),
    ("style", DropRule.MACHINE),
    ("svg", DropRule.MACHINE),
    ("title", DropRule.FRONT_MATTER),
    ("noframes", DropRule.HIDDEN),
    ("noembed", DropRule.HIDDEN),
    ("iframe", DropRule.HIDDEN),
    ("object", DropRule.HIDDEN),
    ("applet", DropRule.HIDDEN),
    ("video", DropRule.HIDDEN),
    ("audio", DropRule.HIDDEN),
    ("canvas", DropRule.HIDDEN),
    ("rp", DropRule.HIDDEN),
    ("dialog:not([open])", DropRule.HIDDEN),
    ("select", DropRule.FORM),
    ("datalist", DropRule.FORM),
    ("textarea:not([readonly])", DropRule.FORM),
    (".katex-html[aria-hidden]", DropRule.REPEATED),
    (".MathJax_Preview", DropRule.REPEATED),
    ("td.linenos", DropRule.MACHINE),
    ("td.gutter", DropRule.MACHINE),
    (".linenodiv", DropRule.MACHINE),
    (".lineno", DropRule.MACHINE),
    (".linenos", DropRule.MACHINE),
    ("ac\\:task-id", DropRule.MACHINE),
    ("ac\\:task-uuid", DropRule.MACHINE),
    ("ac\\:task-status", DropRule.MACHINE),
    ("ac\\:parameter:not([ac\\:name='title'])", DropRule.MACHINE),
)
# Raw text in which a browser with scripts sees no elements; only what is between its tags is text.
HOLDS_MARKUP = frozenset(("noframes", "noembed", "iframe"))
# But the source of a formula is text, in a script of such a type.
FORMULA_SOURCE = ("math/tex", "math/asciimath")
# What a script made of formulas whose source is still on the page.
RENDERED_FORMULAS = (
    ".MathJax",
    ".MathJax_Display",
    ".MathJax_SVG",
    ".MathJax_CHTML",
)

# 2. Hidden, unless a reader can open it or a script shows it.
HIDDEN = ("[hidden]:not([hidden='until-found' i])",)
# A picture of a letter, an ornament; more text than this is shown, whatever a screen reader says.
SILENT = "[aria-hidden='true' i]"
MAX_SILENT_CHARACTERS = 40
OPENED_BY_READER = (
    "[role='tabpanel' i]",
    "[role='region' i][aria-labelledby]",
    ".tab-pane",
    ".tab-panel",
    ".tabpanel",
    ".tab-content",
    ".tabcontent",
    ".tabbed-block",
    ".sphinx-tabs-panel",
    ".accordion-body",
    ".accordion-content",
    ".accordion-panel",
    ".accordion-collapse",
    ".panel-collapse",
    ".collapse",
    ".collapsible",
    ".spoiler",
    ".spoiler-content",
    ".mw-collapsible-content",
    ".schema-faq-answer",
    ".read-more",
    ".readmore",
    ".more-text",
    ".more-content",
    ".carousel-item",
    ".swiper-slide",
    ".slick-slide",
    ".toggle-content",
    ".faq-answer",
)
SHOWN_BY_SCRIPT = (
    "[data-aos]",
    "[data-sal]",
    "[data-animate]",
    "[data-scroll]",
    ".wow",
    ".aos-init",
    ".reveal",
    ".fade-in",
    ".animated",
)
# Declared beside opacity or visibility: a movement that ends with the text in view.
MOVING_PROPERTIES = frozenset(
    (
        "transform",
        "translate",
        "transition",
        "transition-property",
        "animation",
        "animation-name",
        "will-change",
    )
)
# Attributes with which a control names what it opens; a link does so by `#id`.
NAMES_WHAT_IT_OPENS = (
    "aria-controls",
    "data-target",
    "data-bs-target",
    "data-toggle-target",
)
LINKS_WITHIN_PAGE = "a[href^='#']"
# A control, when the hidden element is its next sibling.
CONTROLS = (
    "button",
    "summary",
    "[aria-expanded]",
    "[role='button' i]",
    "[role='tab' i]",
    "[data-toggle]",
    "[data-bs-toggle]",
    "[onclick]",
    "a[href='#']",
    "a[href^='javascript:' i]",
)
# Of all prose: if more is hidden, a script shows it.
HIDDEN_SHARE_OF_A_SCRIPT = 0.5


# 3. Not the document.
class NotDocument(NamedTuple):
    """Elements that may be no part of the document; how much prose they hold decides."""

    selector: str
    rule: DropRule
    max_prose: int
    """Characters outside links; an element of more is a part of the document."""
    needs_link: bool = False
    """Only a name says so; without a link it is a part of the document."""
    may_belong: bool = False
    """In an element of BELONGS_TO it belongs to that, however short it is."""


_NAVIGATION = (
    "nav",
    "menu",
    "[role='navigation' i]",
    "[role='menu' i]",
    "[role='menubar' i]",
)
_NAVIGATION_BY_NAME = (
    "#nav",
    "#navigation",
    "#navbar",
    "#menu",
    "#toc",
    "#breadcrumb",
    "#breadcrumbs",
    ".navbar",
    ".navigation",
    ".nav:not([role='tablist' i], .nav-tabs, .nav-pills)",
    ".breadcrumb",
    ".breadcrumbs",
    ".toc",
    ".menu",
    ".pagination",
    ".pager",
    ".skip-link",
    ".toplang",
    ".bottomlang",
    ".language-switcher",
    ".lang-switcher",
    ".related-posts",
)
_SHARING = (".share", ".social", ".social-share")
_ASIDE = (
    "aside",
    "[role='complementary' i]",
    "#sidebar",
    ".sidebar",
)
_FOOT = (
    "footer",
    "[role='contentinfo' i]",
    "#footer",
    "#page-footer",
    "#site-footer",
    ".footer",
    ".site-footer",
    ".page-footer",
)
_HEAD = (
    "body > header",
    "body > div > header",
    "[role='banner' i]",
    "#header",
    "#page-header",
    "#site-header",
)
_NOTICES = (
    "[role='dialog' i]",
    "[role='alertdialog' i]",
    ".cookie-banner",
    ".cookie-consent",
    ".cookie-notice",
    "#cookie-banner",
    "#cookie-consent",
    "#cookie-notice",
    ".newsletter",
    ".advertisement",
    ".ads",
)


def _each(
    selectors: tuple[str, ...],
    rule: DropRule,
    max_prose: int,
    needs_link: bool = False,
) -> tuple[NotDocument, ...]:
    return tuple(
        NotDocument(selector, rule, max_prose, needs_link) for selector in selectors
    )


# Where it holds two links or more, and more than LINK_DENSITY of its characters are in links, an element of these is
# dropped however long it is.
IN_MAIN = (
    *_each(_NAVIGATION, DropRule.NAVIGATION, 30),
    *_each(_NAVIGATION_BY_NAME, DropRule.NAVIGATION, 30, needs_link=True),
    *_each(_SHARING, DropRule.BOILERPLATE, 20, needs_link=True),
    *_each(_ASIDE, DropRule.BOILERPLATE, 0),
    *_each(_FOOT, DropRule.BOILERPLATE, 0),
    *_each(("[role='search' i]",), DropRule.FORM, 60),
)
ANYWHERE = (
    *_each(_NAVIGATION, DropRule.NAVIGATION, 60),
    *_each(_NAVIGATION_BY_NAME, DropRule.NAVIGATION, 60, needs_link=True),
    *_each(_SHARING, DropRule.BOILERPLATE, 40, needs_link=True),
    *_each(_ASIDE, DropRule.BOILERPLATE, 0),
    *(NotDocument(one, DropRule.BOILERPLATE, 400, may_belong=True) for one in _FOOT),
    *_each(_HEAD, DropRule.BOILERPLATE, 150),
    *_each(_NOTICES, DropRule.BOILERPLATE, 1_500),
    *_each(("[role='search' i]",), DropRule.FORM, 60),
)
LINK_DENSITY = 0.5
# A footer in one of these belongs to it.
BELONGS_TO = frozenset(("article", "blockquote", "figure", "section", "main", "dd"))
# A button is text where it names what it opens; else it is a part of a form.
TITLE_OF_BUTTON = frozenset(("h1", "h2", "h3", "h4", "h5", "h6", "summary", "dt"))
# A text block of more characters outside links says something.
MIN_SENTENCE = 40
# What marks the anchor of a heading.
ANCHOR_MARKS = frozenset(("¶", "#", "§", "🔗", "link", "permalink"))

# 4. The main part. An author's word for it is believed.
EXPLICIT_MAIN = ("main", "[role='main' i]")
# In this order; the first that holds a fair share of the page's prose is its main part.
LIKELY_MAIN = (
    "[itemprop='articleBody' i]",
    ".article-body",
    ".post-content",
    ".entry-content",
    ".markdown-body",
    "article",
    "#page-content",
    "#main-content",
    "#maincontent",
    "#content",
    "#main",
    ".main-content",
    "#bodyContent",
    ".document",
    ".body",
)
# Notes of the document, also where they stand behind its main part.
NOTES = (
    "#footnotes",
    ".footnotes",
    "[role='doc-endnotes' i]",
    "[role='doc-bibliography' i]",
)
# Of the prose that is left without boilerplate; an element with less is a teaser, or one article of many.
FAIR_SHARE = 0.4
# Where it holds the only h1 of the page.
FAIR_SHARE_WITH_TITLE = 0.15
# Of all prose; if the rules for boilerplate leave less, they took the text, and everything is kept.
MIN_SHARE = 0.05
# A main element of less ("Loading ...") is not believed where ten times as much prose is outside.
MIN_MAIN_CHARACTERS = 30
MIN_PROSE_OUTSIDE = 200
