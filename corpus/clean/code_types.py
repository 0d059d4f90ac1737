"""Media types of source code: text in which lines have a meaning."""

_LANGUAGES = (
    *("c", "csrc", "c++", "c++src", "csharp", "d", "dart", "diff", "dockerfile"),
    *("elixir", "erlang", "go", "groovy", "haskell", "java", "java-source", "julia"),
    *("kotlin", "lua", "makefile", "ocaml", "patch", "perl", "php", "properties"),
    *("protobuf", "python", "r", "r-source", "ruby", "rust", "rustsrc", "scala"),
    *("script.python", "sh", "shellscript", "sql", "swift", "toml", "typescript"),
    *("vb", "yaml", "zig"),
)
CODE = (
    *(f"text/x-{language}" for language in _LANGUAGES),
    *("text/javascript", "text/typescript", "text/css", "text/yaml"),
    *("application/javascript", "application/x-javascript", "application/typescript"),
    *("application/sql", "application/x-sh", "application/x-php", "application/toml"),
    *("application/yaml", "application/x-yaml"),
)
