"""A cleaned document → its chunks: the step behind cleaning, in the same process and within the same limits."""

from dataclasses import dataclass, replace
from typing import Any

from corpus.chunk import Chunk
from corpus.clean.account import Account
from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.parts import Part
from corpus.dead_letter import DeadLetterReason
from corpus.embed.tokenizer import ChunkTokenizer
from corpus.preparation import Context, PreparationSpec
from corpus.prepare.detector import language_sample
from corpus.split.splitter import TooManyChunks, split
from corpus.split.unknown import NOTHING_UNKNOWN, UnknownText, unknown_text


@dataclass(frozen=True, slots=True)
class DividedDocument:
    """What a batch keeps of a document."""

    cleaned_sha256: bytes
    sample: str
    """Of the cleaned text, for its language."""
    account: Account
    """Without its pieces."""
    chunks: tuple[Chunk, ...] = ()
    unknown: UnknownText = NOTHING_UNKNOWN
    """Of the chunks."""
    parts: tuple[Part, ...] = ()
    """Of the document."""


@dataclass(frozen=True, slots=True)
class Divide:
    """Divides a cleaned document.

    Attributes:
        tokenizer: of the model.
        spec: sizes and limits.
        context: what the model is given above a chunk.
        title: that chunks are embedded below.
        reusable_sha256: hash of a cleaned text whose chunks stay as they are: it is not divided again.
    """

    tokenizer: ChunkTokenizer
    spec: PreparationSpec
    context: Context
    title: str | None = None
    reusable_sha256: bytes | None = None

    @property
    def results(self) -> tuple[type[Any], ...]:
        """The types that its result may have."""
        return DividedDocument, CleaningFailure

    def __call__(self, document: CleanedDocument) -> DividedDocument | CleaningFailure:
        """The document with its chunks, or why its event cannot be used."""
        account = document.account
        divided = DividedDocument(
            cleaned_sha256=document.sha256(),
            sample=language_sample(document.text),
            account=replace(account, pieces=()),
            parts=document.parts,
        )
        if divided.cleaned_sha256 == self.reusable_sha256:
            return divided
        if self.spec.on_empty == "dead_letter" and account.is_emptied:
            detail = account.how_emptied()
            return CleaningFailure(DeadLetterReason.NO_TEXT_LEFT, detail)
        try:
            chunks = split(
                document,
                self.tokenizer,
                self.spec,
                context=self.context,
                title=self.title,
            )
        except TooManyChunks as error:
            return CleaningFailure(DeadLetterReason.TOO_MANY_CHUNKS, str(error))
        unknown = unknown_text(chunks, self.tokenizer)
        return replace(divided, chunks=tuple(chunks), unknown=unknown)
