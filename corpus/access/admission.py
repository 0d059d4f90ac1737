"""May this call be answered, and as whom? Decided by what the server sets and by the token; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from corpus.access import token
from corpus.access.team import TeamSpec

UNCLAIMED = (
    "no team claims this call: call the Nexus endpoint of your team, from its namespace, with a token of its key "
    "(interceptor `SignedCalls`); the operator's audit log says what was wrong"
)
"""All that a caller without a team learns, whatever it asks for and whatever is wrong with its token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A call as it comes in."""

    service: str
    operation: str
    token: str  # as the header has it; empty: none
    namespaces: frozenset[str]  # of the caller, as the server's links say; may be empty
    digest: str | None  # of the request; None: it cancels an operation


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTeam:
    """A team with its keys, as a gateway knows it."""

    spec: TeamSpec
    keys: Mapping[str, bytes] = field(repr=False)


def refusal(arrival: Arrival, team: KnownTeam | None, now: float) -> str | None:
    """Why no team claims a call, for the audit log; None: the team of its task queue does.

    1. the task queue is that of a team
    2. the namespaces that the server names are the team's
    3. the token is the team's, for this endpoint, operation, request and time; a cancellation comes with the token of
       the call that it ends

    Args:
        arrival: the call.
        team: that the task queue belongs to; None: to no team.
        now: seconds since 1970.
    """
    # Step 1.
    if team is None:
        return "the endpoint is no team's"
    # Step 2.
    others = arrival.namespaces - {team.spec.namespace}
    if others:
        return f"namespace {min(others)!r} is not the team's"
    # Step 3.
    if not arrival.token:
        return "there is no token"
    read = token.read(arrival.token)
    if read is None:
        return "the token cannot be read"
    call = token.Call(
        service=arrival.service,
        operation=arrival.operation,
        endpoint=team.spec.endpoint,
        digest=arrival.digest or "",
    )
    name = team.spec.team
    if arrival.digest is None:
        return token.cancel_problem(read, call, team=name, keys=team.keys, now=now)
    return token.problem(read, call, team=name, keys=team.keys, now=now)


def caller_namespaces(links: Sequence[str]) -> frozenset[str]:
    """The namespaces in links of the server, as `temporal:///namespaces/NAME/...`."""
    names: set[str] = set()
    for link in links:
        try:
            parts = urlsplit(link).path.split("/")
        except ValueError:  # no server writes such a link
            names.add("?")
            continue
        if len(parts) > 2 and parts[1] == "namespaces":
            names.add(unquote(parts[2]))
    return frozenset(names)
