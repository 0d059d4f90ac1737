"""What an update costs: httpd's manual (footers, years), one-line edits, one paragraph of a long document."""

import random
import statistics
from typing import Any

from corpus.chunk import text_sha256
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.embed.tokenizer import load_tokenizer
from corpus.preparation import PreparationSpec
from corpus.split.splitter import split
from tests.bench import data

MODEL = "all-MiniLM-L6-v2"
SAMPLES = 60


def run() -> dict[str, Any]:
    """Measure with the real cleaner and splitter; texts that a document's versions share are counted once."""
    spec = PreparationSpec()
    with Cleaner(processes=2) as cleaner:
        return {
            "httpd": _httpd(cleaner, spec),
            "one-line edits of PEPs": _one_line(cleaner, spec),
            "one paragraph of a 105 KB Markdown document": _one_paragraph(cleaner, spec),
        }


def _chunks(
    cleaner: Cleaner, spec: PreparationSpec, contents: list[tuple[str, str | None]]
) -> list[list[bytes]]:
    tokenizer = load_tokenizer(MODEL)
    cleaned = cleaner.clean([RawDocument(content, kind) for content, kind in contents], spec)
    return [
        [text_sha256(chunk.text) for chunk in split(document, tokenizer, spec)]
        if isinstance(document, CleanedDocument)
        else []
        for document in cleaned
    ]


def _httpd(cleaner: Cleaner, spec: PreparationSpec) -> dict[str, Any]:
    seen: set[bytes] = set()
    base = [
        (event["content"], event.get("content_type"))
        for event in data.events("html/httpd.base.jsonl.zst")
    ]
    for chunks in _chunks(cleaner, spec, base):
        seen.update(chunks)
    updates = free = texts = 0
    events = [
        event for event in data.events("html/httpd.changes.jsonl.zst") if event["op"] == "upsert"
    ]
    for start in range(0, len(events), 200):
        part = events[start : start + 200]
        for chunks in _chunks(
            cleaner, spec, [(event["content"], event.get("content_type")) for event in part]
        ):
            new = set(chunks) - seen
            seen |= new
            updates += 1
            free += not new
            texts += len(new)
    return {
        "updates": updates,
        "embed nothing": free,
        "share": round(free / updates, 4),
        "texts embedded": texts,
    }


def _one_line(cleaner: Cleaner, spec: PreparationSpec) -> dict[str, Any]:
    rng = random.Random(7)
    documents = [
        event
        for event in data.events("streams/peps.base.jsonl.zst")
        if len(event["content"]) > 8_000
    ]
    pairs: list[tuple[str, str | None]] = []
    for event in rng.sample(documents, SAMPLES):
        paragraphs = event["content"].split("\n\n")
        place = rng.choice([n for n, text in enumerate(paragraphs) if len(text) > 120])
        lines = paragraphs[place].splitlines()
        line = rng.randrange(len(lines))
        lines[line] += " (amended in review)"
        edited = "\n\n".join([*paragraphs[:place], "\n".join(lines), *paragraphs[place + 1 :]])
        pairs += [(event["content"], event["content_type"]), (edited, event["content_type"])]
    chunks = _chunks(cleaner, spec, pairs)
    new = [
        len(set(after) - set(before))
        for before, after in zip(chunks[::2], chunks[1::2], strict=True)
    ]
    return {
        "edits": len(new),
        "median new chunks": statistics.median(new),
        "mean": round(statistics.mean(new), 2),
        "largest": max(new),
    }


def _one_paragraph(cleaner: Cleaner, spec: PreparationSpec) -> dict[str, Any]:
    rng = random.Random(11)
    words = " ".join(
        event["content"]
        for event, _ in zip(data.events("streams/peps.base.jsonl.zst"), range(40), strict=False)
    )
    paragraphs = [" ".join(text.split()) for text in words.split("\n\n") if 150 < len(text) < 900][
        :4_000
    ]
    document: list[str] = []
    while sum(map(len, document)) < 105_000:
        document += [f"## Section {len(document)}", *rng.sample(paragraphs, rng.randint(2, 7))]
    places = [
        n
        for n, text in enumerate(document)
        if not text.startswith("#") and 0.2 < n / len(document) < 0.8
    ]
    contents: list[tuple[str, str | None]] = [("\n\n".join(document), "text/markdown")]
    for place in rng.sample(places, SAMPLES):
        edited = [
            *document[:place],
            "A paragraph that was rewritten. " + document[place][: len(document[place]) // 2],
            *document[place + 1 :],
        ]
        contents.append(("\n\n".join(edited), "text/markdown"))
    before, *after = _chunks(cleaner, spec, contents)
    new = [len(set(chunks) - set(before)) for chunks in after]
    return {
        "bytes": len(contents[0][0]),
        "chunks": len(before),
        "edits": len(new),
        "median new chunks": statistics.median(new),
        "largest": max(new),
    }
