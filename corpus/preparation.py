"""How a source's documents are prepared: cleaners, chunker, sizes, limits."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

# Raised when cleaning or splitting gives another result for the same input, so that stored fingerprints differ.
PREPARATION_VERSION = 4
# The same for e-mails alone: 1: what is attached to them is parts.
MAIL_VERSION = 1
MAIL = "message/rfc822"

# Limits decide whether there is a result, not which one; they are no part of the fingerprint.
_LIMITS = frozenset(
    {
        "max_document_bytes",
        "max_chunks",
        "max_pages",
        "max_unpacked_bytes",
        "clean_timeout_seconds",
        "min_kept_ratio",
        "max_unknown_ratio",
        "on_empty",
    }
)


# What the model is given above a chunk: nothing, or the headings that lead to it.
Context = Literal["none", "headings"]
NO_CONTEXT: Context = "none"

# No text is recognised in pictures.
OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationSpec:
    """The preparation of one source: every setting with its default, its unit and its meaning.

    The tables of `freshet.toml` take defaults from here.
    """

    # Media type of every document, regardless of its event; None: the event's, else text/plain.
    content_type: str | None = None
    # An unknown media type: "reject" makes a dead letter, "text" reads it as plain text.
    unknown_content_type: Literal["reject", "text"] = "reject"
    # "main": only the main text of HTML; "all": every visible text.
    html: Literal["main", "all"] = "main"
    # Pages of a PDF that are pictures: "off" leaves them unread; a name of Tesseract's data ("eng") recognises their
    # text in that language.
    ocr: str = OFF
    # "structure": chunks end at headings, paragraphs, sentences.
    # "whole": one chunk per document, truncated by the model.
    chunker: Literal["structure", "whole"] = "structure"
    # Greatest number of tokens per chunk, special tokens included; None: the model's limit.
    max_tokens: int | None = None
    # Smaller pieces are joined to a neighbour where they fit.
    min_tokens: int = 32
    # UTF-8 bytes per document; a larger one is a dead letter.
    max_document_bytes: int = 32_000_000
    # Chunks per document; a document of more is a dead letter.
    max_chunks: int = 50_000
    # Pages, slides or sheets of a file; one of more is a dead letter.
    max_pages: int = 5_000
    # Bytes of a file's parts when they are unpacked; one of more is a dead letter.
    max_unpacked_bytes: int = 500_000_000
    # Depth of HTML elements; a deeper document is read without structure.
    max_nesting: int = 512
    # Time to clean and split one document; a slower one is a dead letter.
    clean_timeout_seconds: float = 60.0

    # Share of a document's readable characters; of a document that keeps less, the ledger counts a loss.
    min_kept_ratio: float = 0.1
    # Share of a document's characters; a document of which the model knows less is counted, and `freshet doctor` warns
    # about a source with more than this share of such documents.
    max_unknown_ratio: float = 0.05
    # A document of whose readable text nothing is left: "dead_letter", or "publish" it without chunks (counted).
    on_empty: Literal["dead_letter", "publish"] = "dead_letter"

    def fingerprint(self, version: int | None = None) -> str:
        """16 hex digits over everything that changes the result.

        Args:
            version: of the preparation; None: the current one.
        """
        settings = {
            name: value for name, value in asdict(self).items() if name not in _LIMITS
        }
        if self.ocr == OFF:
            del settings["ocr"]  # as before there was this setting
        settings["preparation"] = PREPARATION_VERSION if version is None else version
        canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def fingerprint_of(self, content_type: str | None) -> str:
        """The same for documents with this media type: e-mails have a version of their own beside the common one.

        Args:
            content_type: of the event, with or without parameters.
        """
        if is_mail(self.content_type or content_type):
            return self.newest_fingerprint()
        return self.fingerprint()

    def older_fingerprints(self) -> frozenset[str]:
        """The fingerprints that earlier versions gave to the same settings."""
        versions = range(1, PREPARATION_VERSION)
        return frozenset(map(self.fingerprint, versions))

    def newest_fingerprint(self) -> str:
        """That of e-mails. It names the preparation of all kinds together, too: what an operator asks for."""
        versions = f"{self.fingerprint()} mail {MAIL_VERSION}"
        return hashlib.sha256(versions.encode()).hexdigest()[:16]


def is_mail(content_type: str | None) -> bool:
    """Whether a media type is that of an e-mail; `freshet.is_mail` in the schema says the same."""
    media_type = (content_type or "").partition(";")[0]
    return media_type.strip().lower() == MAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationRule:
    """Which documents of a source stay as they were prepared: those with one media type."""

    current: str
    """Fingerprint of the preparation as it is now."""
    kept: frozenset[str]
    """A document with one of these fingerprints stays as it is while its content is unchanged."""
    is_asked: bool
    """An operator asked for this preparation: a visible document of another one is prepared again when it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationRules:
    """The rules of a source."""

    stated: str | None
    """Media type of every document, regardless of its event."""
    mails: PreparationRule
    others: PreparationRule

    def of(self, content_type: str | None) -> PreparationRule:
        """The rule for documents whose events have this media type."""
        if is_mail(self.stated or content_type):
            return self.mails
        return self.others


def preparation_rules(
    spec: PreparationSpec, prepare_again: str | None
) -> PreparationRules:
    """The rules of a source.

    An upgrade alone prepares nothing again: what an earlier version prepared with the same settings is kept until an
    operator asks (`freshet source prepare`). Another setting is what an operator has asked for already; it takes effect
    document by document, with the next event of each.

    Args:
        spec: of the source.
        prepare_again: fingerprint that an operator asked for (`freshet.source.prepare_again`); None: for none.
    """
    common = spec.fingerprint()
    newest = spec.newest_fingerprint()
    older = spec.older_fingerprints()
    return PreparationRules(
        stated=spec.content_type,
        mails=_rule(newest, older | {common}, is_asked=prepare_again == newest),
        others=_rule(common, older, is_asked=prepare_again in (common, newest)),
    )


def _rule(current: str, older: frozenset[str], *, is_asked: bool) -> PreparationRule:
    kept = frozenset({current})
    if not is_asked:
        kept |= older
    return PreparationRule(current=current, kept=kept, is_asked=is_asked)
