"""Two versions of the preparation, for tests of an upgrade: the newer one leaves tildes out of the chunks."""

from dataclasses import replace
from typing import Any

import pytest

from corpus import preparation
from corpus.chunk import Chunk
from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.plain import plain_blocks
from corpus.embed.tokenizer import ChunkTokenizer
from corpus.preparation import PreparationSpec
from corpus.prepare import candidates
from corpus.prepare.divide import Divide, DividedDocument
from corpus.split.splitter import split
from workers import prepare_sample

OLDER = preparation.PREPARATION_VERSION
NEWER = OLDER + 1


def _without_tildes(document: CleanedDocument) -> CleanedDocument:
    text = document.text.replace("~", "")
    return CleanedDocument(text, plain_blocks(text))


def _split_without_tildes(
    document: CleanedDocument, tokenizer: ChunkTokenizer, spec: PreparationSpec, **above: Any
) -> list[Chunk]:
    return split(_without_tildes(document), tokenizer, spec, **above)


class NewerDivide(Divide):
    """What the newer version sends to the processes in which documents are divided."""

    def __call__(self, document: CleanedDocument) -> DividedDocument | CleaningFailure:
        divided = super().__call__(_without_tildes(document))
        if isinstance(divided, CleaningFailure):
            return divided
        # The cleaned text is the same in both versions.
        return replace(divided, cleaned_sha256=document.sha256(), account=document.account)


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is of the newer version."""
    monkeypatch.setattr(preparation, "PREPARATION_VERSION", NEWER)
    monkeypatch.setattr(candidates, "Divide", NewerDivide)
    monkeypatch.setattr(prepare_sample, "split", _split_without_tildes)
