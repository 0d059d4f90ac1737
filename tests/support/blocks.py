"""Blocks of a cleaned document, as tests compare them."""

from corpus.clean.blocks import CleanedDocument


def kinds(document: CleanedDocument) -> list[tuple[str, int, str]]:
    """Return kind, heading level and text of each block."""
    return [
        (block.kind.value, block.level, document.text[block.start : block.end])
        for block in document.blocks
    ]


def texts(document: CleanedDocument) -> list[str]:
    """Return the text of each block."""
    return [text for _, _, text in kinds(document)]
