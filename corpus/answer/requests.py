"""What is wrong with a request of another team, in one sentence; and the identity of a wait. Pure."""

import json
from collections.abc import Iterable

from corpus.disclosure.error_text import public_text
from corpus.service import MAX_HITS, AwaitFreshRequest, DescribeRequest, SearchRequest

MAX_QUERY_CHARACTERS = 10_000
# A source's name has at most 63 characters, so a longer one is unknown; much longer ones do not fit into a workflow id.
MAX_SOURCE_CHARACTERS = 200
MAX_TIMEOUT_SECONDS = 30 * 86_400
MODES = ("vector", "text", "hybrid")
RERANKINGS = ("", "model")
# Times that Python and PostgreSQL both have: from year 1 to year 9999.
MIN_TIME_MS, MAX_TIME_MS = -62_135_596_800_000, 253_402_300_799_999
MIN_TIME_US, MAX_TIME_US = MIN_TIME_MS * 1_000, MAX_TIME_MS * 1_000 + 999
_MAX_INTEGER, _MAX_BIGINT = 2**31 - 1, 2**63 - 1
MAX_GROUPS = 1_000
_AS_OF = ("as_of_ms", "as_of_us", "as_of_batch")
# The fields that name each target of a wait. Exactly one target is named, and in full.
_TARGETS = (
    ("topic", "partition", "offset"),
    ("document_id", "version"),
    ("batch",),
    ("time_ms",),
)
_WAIT_RANGES = {
    "partition": (0, _MAX_INTEGER),
    "offset": (0, _MAX_BIGINT),
    "version": (0, _MAX_BIGINT),
    "batch": (0, _MAX_BIGINT),
    "timeout_seconds": (0, MAX_TIMEOUT_SECONDS),
}


# ── problems ────────────────────────────────────────────────────────────────────────────────────────────────────────


def search_problem(request: SearchRequest) -> str | None:
    """What is wrong with a search, or None."""
    return _first(
        _query_problem(request.query),
        _range_problem("k", request.k, 1, MAX_HITS),
        _mode_problem(request.mode),
        _rerank_problem(request.rerank),
        *(_source_problem(source) for source in request.sources),
        _metadata_problem(request.metadata),
        _range_problem("as_of_ms", request.as_of_ms, MIN_TIME_MS, MAX_TIME_MS),
        _range_problem("as_of_us", request.as_of_us, MIN_TIME_US, MAX_TIME_US),
        _range_problem("as_of_batch", request.as_of_batch, 1, _MAX_BIGINT),
        _as_of_problem(request),
        _groups_problem(request.groups),
    )


def is_as_of(request: SearchRequest) -> bool:
    """Whether a search is of the past: it may wait for a batch that is being published, and scans history."""
    return any(_given(request, _AS_OF))


def describe_problem(request: DescribeRequest) -> str | None:
    """What is wrong with a request for a description, or None."""
    return _first(_source_problem(request.source), _groups_problem(request.groups))


def await_problem(request: AwaitFreshRequest) -> str | None:
    """What is wrong with a wait, or None."""
    return _first(
        _target_problem(request),
        _source_problem(request.source),
        _text_problem("topic", request.topic or ""),
        _topic_id_problem(request),
        _text_problem("document_id", request.document_id or ""),
        *(
            _range_problem(name, getattr(request, name), *limits)
            for name, limits in _WAIT_RANGES.items()
        ),
        _groups_problem(request.groups),
    )


def _first(*problems: str | None) -> str | None:
    return next((problem for problem in problems if problem), None)


def _query_problem(query: str) -> str | None:
    characters = len(query)
    if not query.strip() or characters > MAX_QUERY_CHARACTERS:
        limits = f"give 1 to {MAX_QUERY_CHARACTERS:,} that are not blank"
        return f"query has {characters} characters; {limits}"
    return _text_problem("query", query)


def _mode_problem(mode: str) -> str | None:
    if mode in MODES:
        return None
    return f"mode is {mode!r}; give one of {', '.join(MODES)}"


def _rerank_problem(rerank: str) -> str | None:
    if rerank in RERANKINGS:
        return None
    return f"rerank is {rerank!r}; give 'model', or leave it out"


def _as_of_problem(request: SearchRequest) -> str | None:
    if sum(_given(request, _AS_OF)) > 1:
        return f"give at most one of {', '.join(_AS_OF)}"
    if request.as_of_batch is not None and len(request.sources) > 1:
        return "as_of_batch is a batch of one source; name one source, or use as_of_us"
    return None


def _metadata_problem(metadata: str) -> str | None:
    if not metadata:
        return None
    try:
        parsed = json.loads(metadata)
    except ValueError as error:
        return f"metadata is not JSON: {public_text(error)}"
    except RecursionError:
        return "metadata is nested too deeply"
    if not isinstance(parsed, dict):
        return f"metadata is {type(parsed).__name__}; give a JSON object"
    return _text_problem("metadata", metadata)


def _target_problem(request: AwaitFreshRequest) -> str | None:
    named = [target for target in _TARGETS if any(_given(request, target))]
    if len(named) == 1 and all(_given(request, named[0])):
        return None
    return (
        "name exactly one target to wait for: topic, partition and offset; document_id and version; "
        "batch; or time_ms"
    )


def _given(
    request: AwaitFreshRequest | SearchRequest, fields: Iterable[str]
) -> list[bool]:
    return [getattr(request, name) is not None for name in fields]


def _topic_id_problem(request: AwaitFreshRequest) -> str | None:
    if request.topic_id is None:
        return None
    if request.topic is None:
        return "topic_id belongs to topic, partition and offset; leave it out"
    return _text_problem("topic_id", request.topic_id)


def _source_problem(source: str) -> str | None:
    characters = len(source)
    if not characters:
        return "source is empty"
    if characters > MAX_SOURCE_CHARACTERS:
        limit = f"give at most {MAX_SOURCE_CHARACTERS}"
        return f"source has {characters} characters; {limit}"
    return _text_problem("source", source)


def _groups_problem(groups: tuple[str, ...]) -> str | None:
    if len(groups) > MAX_GROUPS:
        return f"groups names {len(groups)} groups; give at most {MAX_GROUPS}"
    return _first(*(_text_problem("groups", group) for group in groups))


def _range_problem(
    name: str, value: int | None, least: int, greatest: int
) -> str | None:
    if value is None or least <= value <= greatest:
        return None
    return f"{name} is {value}; give {least} to {greatest}"


def _text_problem(name: str, value: str) -> str | None:
    """PostgreSQL and the payloads of Temporal hold valid Unicode, and PostgreSQL no NUL."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"{name} is not text: character {error.start} is a lone surrogate"
    if "\0" in value:
        return f"{name} has a NUL character at {value.index(chr(0))}; remove it"
    return None


# ── identity of a wait ──────────────────────────────────────────────────────────────────────────────────────────────


def await_prefix(team: str) -> str:
    """How the workflow ids of a team's waits begin; no other team's begin so, since no name holds a colon."""
    return f"await:{team}:"


def await_workflow_id(team: str, source: str, request_id: str) -> str:
    """Workflow id of one caller's wait; another team that repeats a request id does not reach it.

    Args:
        team: that calls.
        source: that the wait is about.
        request_id: of the caller's Nexus operation; the same in every repetition of one call, and in no other call.
    """
    return f"{await_prefix(team)}{source}:{request_id}"
