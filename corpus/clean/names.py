"""What the end of a file's name says of it; it counts where nothing else does. The module imports tables only."""

from pathlib import PurePosixPath

from corpus.clean.files.kinds import SUFFIXES

_PLAIN = (".txt", ".text", ".log", ".adoc", ".asciidoc", ".ini", ".cfg", ".conf")
_C = (".c", ".h")
_CPP = (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx")
_JAVASCRIPT = (".js", ".mjs", ".cjs", ".jsx")
_TYPESCRIPT = (".ts", ".mts", ".cts", ".tsx")
# Of texts; those of files are in SUFFIXES.
TEXT_SUFFIXES = {
    **dict.fromkeys(_PLAIN, "text/plain"),
    **dict.fromkeys((".md", ".markdown", ".mdx"), "text/markdown"),
    ".rst": "text/x-rst",
    **dict.fromkeys((".html", ".htm"), "text/html"),
    ".xhtml": "application/xhtml+xml",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    **dict.fromkeys((".jsonl", ".ndjson"), "application/x-ndjson"),
    # Source code.
    **dict.fromkeys(_C, "text/x-c"),
    **dict.fromkeys(_CPP, "text/x-c++"),
    **dict.fromkeys(_JAVASCRIPT, "text/javascript"),
    **dict.fromkeys(_TYPESCRIPT, "text/typescript"),
    **dict.fromkeys((".yaml", ".yml"), "application/yaml"),
    **dict.fromkeys((".sh", ".bash"), "text/x-sh"),
    **dict.fromkeys((".kt", ".kts"), "text/x-kotlin"),
    **dict.fromkeys((".ex", ".exs"), "text/x-elixir"),
    **dict.fromkeys((".pl", ".pm"), "text/x-perl"),
    **dict.fromkeys((".diff", ".patch"), "text/x-diff"),
    ".cs": "text/x-csharp",
    ".css": "text/css",
    ".dart": "text/x-dart",
    ".erl": "text/x-erlang",
    ".go": "text/x-go",
    ".groovy": "text/x-groovy",
    ".hs": "text/x-haskell",
    ".java": "text/x-java",
    ".jl": "text/x-julia",
    ".lua": "text/x-lua",
    ".ml": "text/x-ocaml",
    ".php": "text/x-php",
    ".properties": "text/x-properties",
    ".proto": "text/x-protobuf",
    ".py": "text/x-python",
    ".r": "text/x-r",
    ".rb": "text/x-ruby",
    ".rs": "text/x-rust",
    ".scala": "text/x-scala",
    ".sql": "text/x-sql",
    ".swift": "text/x-swift",
    ".toml": "application/toml",
    ".vb": "text/x-vb",
    ".zig": "text/x-zig",
}


def type_by_name(name: str) -> str | None:
    """The media type that the end of a name stands for; None: it stands for none."""
    suffix = PurePosixPath(name).suffix.lower()
    return SUFFIXES.get(suffix) or TEXT_SUFFIXES.get(suffix)
