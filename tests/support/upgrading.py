"""Two versions of the preparation, for tests of an upgrade: the newer one leaves tildes out of the chunks."""

from typing import Any

import pytest

from corpus import preparation
from corpus.chunk import Chunk
from corpus.clean.blocks import CleanedDocument
from corpus.clean.plain import plain_blocks
from corpus.embed.tokenizer import ChunkTokenizer
from corpus.preparation import PreparationSpec
from corpus.prepare import preparer
from corpus.split.splitter import split
from workers import prepare_sample

OLDER = preparation.PREPARATION_VERSION
NEWER = OLDER + 1


def _split_without_tildes(
    document: CleanedDocument, tokenizer: ChunkTokenizer, spec: PreparationSpec, **above: Any
) -> list[Chunk]:
    text = document.text.replace("~", "")
    return split(CleanedDocument(text, plain_blocks(text)), tokenizer, spec, **above)


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is of the newer version."""
    monkeypatch.setattr(preparation, "PREPARATION_VERSION", NEWER)
    monkeypatch.setattr(preparer, "split", _split_without_tildes)
    monkeypatch.setattr(prepare_sample, "split", _split_without_tildes)
