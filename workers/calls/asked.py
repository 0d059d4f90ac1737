"""What a request says, for the access log."""

from hashlib import sha256
from typing import Any, cast

from corpus.access.log import storable
from corpus.answer.requests import MAX_QUERY_CHARACTERS
from corpus.service import AwaitFreshRequest, SearchRequest

_MAX_NAMES = 100  # of a list in a row
MAX_CHARACTERS = 500  # of each text of a caller but the query: rows are never deleted
# Fields of a request that say what was asked, beside its query and its sources.
_FIELDS = (
    *("k", "mode", "rerank", "groups", "as_of_ms", "as_of_us", "as_of_batch"),
    *("topic", "partition", "offset", "version", "batch", "time_ms"),
)


def asked(request: Any) -> dict[str, Any]:
    """What a request says, without what has its default."""
    detail: dict[str, Any] = {}
    if isinstance(request, SearchRequest):
        detail["query"] = request.query[:MAX_QUERY_CHARACTERS]
        if request.metadata:
            detail["filtered"] = True
    if isinstance(request, AwaitFreshRequest) and request.document_id is not None:
        # Never the id: these rows outlive the erasure of the document.
        document = storable(request.document_id)
        detail["document_sha256"] = sha256(document.encode()).hexdigest()
    for field in _FIELDS:
        value = getattr(request, field, None)
        if value not in (None, (), ""):
            detail[field] = _cut(value)
    return detail


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_CHARACTERS]
    if isinstance(value, tuple):
        names = cast(tuple[Any, ...], value)
        return [_cut(name) for name in names[:_MAX_NAMES]]
    return value
