"""What becomes of a directive of reStructuredText: its argument, its options, its content. Data, one name per entry.

The names are docutils', Sphinx's and those of its common extensions. A directive that is not here keeps its argument
and its content.
"""

# The content is kept to the letter; the argument names a language or a file.
CODE = frozenset(
    (
        *("code", "code-block", "sourcecode", "highlight-block", "parsed-literal"),
        *("productionlist", "prompt", "ipython", "console", "jupyter-execute"),
        *("doctest", "testcode", "testoutput", "graphviz", "digraph", "graph"),
        *("mermaid", "uml", "plantuml", "math"),
    )
)
# Of these, the argument is content, too.
CODE_IN_ARGUMENT = frozenset(("math",))
# Lists of links that are made from the rest of the documentation.
NAVIGATION = frozenset(("contents", "toctree", "sectnum", "section-numbering"))
# Nothing of it is shown where it stands.
HIDDEN = frozenset(
    (
        *("meta", "index", "highlight", "default-role", "role", "default-domain"),
        *("tabularcolumns", "testsetup", "testcleanup", "target-notes", "title"),
        *("currentmodule", "module", "py:module", "py:currentmodule"),
        *("sectionauthor", "codeauthor", "include", "literalinclude", "date"),
    )
)
RAW = "raw"
ROWS = "csv-table"
# The argument is a path, a condition or a class.
WITHOUT_ARGUMENT = frozenset(
    (
        *("image", "figure", "container", "only", "ifconfig", "rst-class"),
        *("cssclass", "thumbnail", "video", "youtube", "automodule"),
    )
)
# A class of the document where the argument is one (`class:: special`), of a program otherwise.
CLASS = "class"
# Options whose value is read by people.
SHOWN_OPTIONS = frozenset(("alt", "caption", "header", "title", "subtitle", "abstract"))

# What is shown before the argument or the content.
LABELS = {
    "versionadded": "Added in version",
    "versionchanged": "Changed in version",
    "versionremoved": "Removed in version",
    "deprecated": "Deprecated since version",
    "attention": "Attention:",
    "caution": "Caution:",
    "danger": "Danger:",
    "error": "Error:",
    "hint": "Hint:",
    "important": "Important:",
    "note": "Note:",
    "seealso": "See also:",
    "tip": "Tip:",
    "todo": "Todo:",
    "warning": "Warning:",
}
