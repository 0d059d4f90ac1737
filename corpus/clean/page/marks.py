"""What a page's structure means, as data: tables, lists, formulas, pictures, blocks.

Each entry of each list has a case in `tests/unit/corpus/clean/html_cases.py`.
"""

from corpus.clean.page.rules import names

LAYOUT_TABLE = (
    "[role='presentation' i]",
    "[role='none' i]",
    ".highlighttable",
    ".rouge-table",
)
DATA_TABLE = ("th", "caption", "thead")
# In a cell of a table that has none of the above: it arranges parts of a page.
IN_LAYOUT_CELL = ("h1", "h2", "h3", "h4", "h5", "h6", "pre", "table")
ORDER_OF_CLASS = {
    "loweralpha": "a",
    "upperalpha": "A",
    "lowerroman": "i",
    "upperroman": "I",
}
# Written without a mark: "1st", "M^me" would read badly.
ORDINALS = frozenset(
    (
        *("st", "nd", "rd", "th", "er", "re", "e", "ème", "ère", "o", "a", "º", "ª"),
        *("me", "lle", "mes", "lles", "tm", "sm", "®", "™", "©"),
    )
)
ELEMENTS = names(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe "
    "Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In "
    "Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf "
    "Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu"
)
# A picture's alternative text is content in these, or where it is long enough to say something.
FORMULA_PICTURES = ("math", "tex", "latex", "equation", "formula")
NO_CONTENT_ALT = frozenset(
    (
        *("image", "picture", "photo", "logo", "icon", "avatar", "badge", "banner"),
        *("screenshot", "thumbnail", "figure", "loading", "spinner"),
    )
)
MIN_ALT_CHARACTERS = 10
MIN_ALT_WORDS = 3
# CDATA of these holds markup, not text.
CDATA_OF_MARKUP = frozenset(("description", "content:encoded", "summary", "content"))
# Elements that begin a block; what they make of it.
HEADINGS = {f"h{level}": level for level in range(1, 7)}
CODE_BLOCKS = frozenset(("pre", "textarea", "ac:plain-text-body", "xmp", "listing"))
BLOCKS = frozenset(
    (
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "caption",
            "center",
            "dd",
            "details",
            "dialog",
            "dir",
        ),
        *(
            "div",
            "dl",
            "dt",
            "fieldset",
            "figcaption",
            "figure",
            "footer",
            "form",
            "frameset",
            "header",
            "hgroup",
            "hr",
        ),
        *(
            "html",
            "legend",
            "li",
            "main",
            "menu",
            "nav",
            "ol",
            "optgroup",
            "option",
            "p",
            "section",
            "summary",
            "table",
        ),
        *(
            "tbody",
            "td",
            "tfoot",
            "th",
            "thead",
            "tr",
            "ul",
            "search",
            *HEADINGS,
            *CODE_BLOCKS,
        ),
        *(
            "ac:structured-macro",
            "ac:rich-text-body",
            "ac:task",
            "ac:task-body",
            "ac:layout-section",
            "ac:layout-cell",
        ),
    )
)
# Stands for <br>; no text holds it (see source).
BREAK = "\x00"
# What stands before, between and after the parts of a formula in MathML. RAISED, LOWERED, END: see inline.
RAISED = "\x01"
LOWERED = "\x03"
END = "\x02"
FORMULA_MARKS: dict[str, tuple[str, ...]] = {
    "msup": ("", RAISED, END),
    "mover": ("", RAISED, END),
    "msub": ("", LOWERED, END),
    "munder": ("", LOWERED, END),
    "msubsup": ("", LOWERED, END + RAISED, END),
    "munderover": ("", LOWERED, END + RAISED, END),
    "mfrac": ("(", ")/(", ")"),
    "mroot": ("(", ")" + RAISED + "1/", END),
    "msqrt": ("√(", ")"),
    "mtd": ("", " "),
    "mtr": ("", "; "),
}
# What a browser writes around the text of an element.
QUOTES = {"q": ("“", "”"), "rt": ("(", ")")}
