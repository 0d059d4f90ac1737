"""Renders the manual with many templates; runs in an environment that has them (see `python -m tests.bench gold`).

`python render.py FOLDER`: writes FOLDER/SITE/PAGE.html and, beside it, PAGE.txt: the page's main text. It is what the
generator put into the template, so no extractor has a part in it.
"""

import importlib
import logging
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

# theme -> module to install it from; "" comes with Sphinx.
SPHINX_THEMES = {
    **dict.fromkeys(("alabaster", "classic", "sphinxdoc", "scrolls", "agogo", "nature"), ""),
    **dict.fromkeys(("pyramid", "haiku", "traditional", "bizstyle"), ""),
    "furo": "furo",
    "sphinx_rtd_theme": "sphinx_rtd_theme",
    "pydata_sphinx_theme": "pydata_sphinx_theme",
    "sphinx_book_theme": "sphinx_book_theme",
    "bootstrap": "sphinx_bootstrap_theme",
    "piccolo_theme": "piccolo_theme",
    "sphinx_wagtail_theme": "sphinx_wagtail_theme",
    "sphinx_material": "sphinx_material",
    "shibuya": "shibuya",
    "guzzle_sphinx_theme": "guzzle_sphinx_theme",
    "groundwork": "groundwork_sphinx_theme",
    "cloud": "cloud_sptheme",
}
MKDOCS_THEMES = ("mkdocs", "readthedocs", "material")
_THEME_PATHS = {
    "bootstrap": "get_html_theme_path",
    "sphinx_material": "html_theme_path",
    "guzzle_sphinx_theme": "html_theme_path",
    "cloud": "get_theme_dir",
}
_EXTENSIONS = (
    "sphinx_material",
    "guzzle_sphinx_theme",
    "sphinx_wagtail_theme",
    "groundwork_sphinx_theme",
    "shibuya",
)


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_VOID = frozenset(("br", "img", "hr", "input", "link", "meta", "wbr", "col", "source"))


class MainText(HTMLParser):
    """Text of a fragment; blocks apart, without the marks of headings' anchors.

    Args:
        only: id of the element whose text is wanted; None: all.
        without: classes and ids of elements that are none of it.
    """

    def __init__(self, only: str | None = None, without: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._without = {"headerlink", "permalink", *without}
        self._only = only
        self._open: list[tuple[str, bool, bool]] = [("", only is None, False)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        names = {*(named.get("class") or "").split(), named.get("id")}
        _, wanted, out = self._open[-1]
        wanted = wanted or (self._only is not None and self._only in names)
        out = out or bool(names & self._without) or tag in ("script", "style")
        self.parts.append("" if tag in _INLINE else " ")
        if tag not in _VOID:
            self._open.append((tag, wanted, out))

    def handle_endtag(self, tag: str) -> None:
        self.parts.append("" if tag in _INLINE else " ")
        tags = [opened for opened, _, _ in self._open]
        if tag in tags[1:]:
            del self._open[len(tags) - 1 - tags[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        _, wanted, out = self._open[-1]
        if wanted and not out:
            self.parts.append(data)

    def text(self) -> str:
        return " ".join("".join(self.parts).split())


_INLINE = _names(
    "a b i em strong span code tt kbd samp var cite sup sub small big u s abbr dfn q mark time"
)


def main_text(fragment: str, only: str | None = None, without: tuple[str, ...] = ()) -> str:
    parser = MainText(only, without)
    parser.feed(fragment)
    parser.close()
    return parser.text()


def sphinx_site(theme: str, module: str, folder: Path, work: Path, manual: Any) -> None:
    from sphinx.application import Sphinx

    source = work / "source"
    source.mkdir(parents=True, exist_ok=True)
    for name, text in manual.restructured_text().items():
        (source / f"{name}.rst").write_text(text, encoding="utf-8")
    (source / "conf.py").write_text("", encoding="utf-8")
    settings: dict[str, Any] = {
        "project": "Weir",
        "author": "The keepers",
        "copyright": "2026, The keepers",
        "html_theme": theme,
        "html_show_sourcelink": True,
        "extensions": ["sphinx.ext.mathjax"],
    }
    if module:
        loaded = importlib.import_module(module)
        if theme in _THEME_PATHS:
            path = getattr(loaded, _THEME_PATHS[theme])()
            settings["html_theme_path"] = [path] if isinstance(path, str) else path
        if module in _EXTENSIONS:
            settings["extensions"].append(module)
    bodies: dict[str, str] = {}

    def note(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
        if doctree is not None:
            bodies[page] = context["body"]

    out = work / theme
    app = Sphinx(
        str(source),
        None,
        str(out),
        str(work / "trees" / theme),
        "html",
        settings,
        status=None,
        warning=None,
        freshenv=True,
    )
    app.connect("html-page-context", note, priority=1)
    app.build(force_all=True)
    for name in (*manual.PAGES, *manual.MEASURED_METHODS, "index"):
        html = (out / f"{name}.html").read_text(encoding="utf-8")
        _write(folder / f"sphinx-{theme}", name, html, main_text(bodies[name]))


def mkdocs_site(theme: str, folder: Path, work: Path, manual: Any) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    docs = work / "docs"
    docs.mkdir(parents=True, exist_ok=True)
    for name, text in manual.markdown().items():
        (docs / f"{name}.md").write_text(text, encoding="utf-8")
    config_file = work / "mkdocs.yml"
    config_file.write_text(
        f"site_name: Weir\ntheme: {theme}\nuse_directory_urls: false\nplugins: []\n",
        encoding="utf-8",
    )
    config = load_config(
        str(config_file), docs_dir=str(docs), site_dir=str(work / f"mkdocs-{theme}"), theme=theme
    )
    bodies: dict[str, str] = {}

    def note(html: str, *, page: Any, config: Any, files: Any) -> str:
        bodies[page.file.src_uri.removesuffix(".md")] = html
        return html

    config.plugins.events["page_content"].append(note)
    build(config)
    measured = [name for name in manual.markdown() if name not in manual.METHODS]
    for name in (*measured, *manual.MEASURED_METHODS):
        html = (work / f"mkdocs-{theme}" / f"{name}.html").read_text(encoding="utf-8")
        _write(folder / f"mkdocs-{theme}", name, html, main_text(bodies[name]))


def _write(folder: Path, name: str, html: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.html").write_text(html, encoding="utf-8")
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def main() -> None:
    """Render with what is installed; say on stderr what is not."""
    folder = Path(sys.argv[1])
    here = Path(__file__).parent
    sys.path.insert(0, str(here))
    manual = importlib.import_module("manual")
    logging.disable(logging.WARNING)
    work = folder.parent / "work"
    jobs = [
        (f"sphinx {theme}", sphinx_site, (theme, module)) for theme, module in SPHINX_THEMES.items()
    ]
    jobs += [(f"mkdocs {theme}", mkdocs_site, (theme,)) for theme in MKDOCS_THEMES]
    for name, render, arguments in jobs:
        try:
            render(*arguments, folder, work, manual)
        except Exception as error:
            sys.stderr.write(f"{name}: {type(error).__name__}: {str(error)[:200]}\n")


if __name__ == "__main__":
    main()
