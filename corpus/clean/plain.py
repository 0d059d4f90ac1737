"""Plain text → blocks.

A scanner of our own: plain text has no grammar that a library could know. It looks at each line once.
"""

import re

from corpus.clean.block_builder import BlockBuilder, numbered_lines
from corpus.clean.blocks import Block, BlockKind

# "- x", "12. x", "3) x", "#. x", "[4] x" and reStructuredText's ".. [4] x".
LIST_ITEM = re.compile(
    r"\s*(?:[-*+•]|\d{1,9}[.)]|#\.|\[\d+\]|\.\. \[[^\]\s]{1,40}\])\s+\S"
)


def plain_blocks(text: str) -> tuple[Block, ...]:
    """Return paragraphs (between blank lines) and list items."""
    builder = BlockBuilder(text)
    for offset, line in numbered_lines(text):
        if not line:
            builder.close()
            continue
        if LIST_ITEM.match(line):
            builder.open(offset, BlockKind.LIST_ITEM)
        builder.extend(offset, line)
    return builder.finish()
