"""The gate before `CorpusService`: no operation begins, and none is cancelled, unless a team claims the call."""

import asyncio
import base64
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from nexusrpc import HandlerError, HandlerErrorType
from nexusrpc.handler import (
    OperationContext,
    StartOperationContext,
    StartOperationResultAsync,
    StartOperationResultSync,
)
from temporalio import worker

from corpus.access import token
from corpus.access.admission import (
    UNCLAIMED,
    Arrival,
    KnownTeam,
    caller_namespaces,
    refusal,
)
from corpus.access.codec import ADMITTED, UNOPENED, AdmittedCall
from corpus.access.quota import CallQuota
from corpus.access.reader import Reader
from corpus.access.team import Right, TeamSpec
from corpus.answer.requests import await_prefix, is_as_of
from corpus.service import SearchRequest

# An operation that is not in this table is refused.
_RIGHTS = {
    "search": Right.SEARCH,
    "describe_source": Right.SEARCH,
    "await_fresh": Right.AWAIT,
}
_NO_OPERATION = "there is no such operation"
_Result = StartOperationResultSync[Any] | StartOperationResultAsync

# The team whose call is being answered; its absence is an error, never an answer.
CALLER: ContextVar[TeamSpec] = ContextVar("freshet-caller")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of a call before it was answered, for the log."""

    team: str  # empty: no team claims it
    namespaces: frozenset[str]
    operation: str  # "cancel OPERATION" where it cancels one
    request: Any = None
    granted: frozenset[str] = frozenset()  # sources of the team
    refused: str = ""  # why; empty: it is answered

    @property
    def actor(self) -> str:
        """As the access log names it."""
        return f"team:{self.team}" if self.team else "unclaimed"

    @property
    def sources(self) -> frozenset[str]:
        """The sources that the call is about, granted or not."""
        named = frozenset(_sources_of(self.request))
        if isinstance(self.request, SearchRequest):
            return named or self.granted
        return named


# What a decision is noted with: done once that is durable.
Note = Callable[[Decision], Future[None]]


class Gate(worker.Interceptor):
    """Of the worker of one task queue.

    Args:
        team: the team of the queue as it is now; None: it is no team's.
        note: called with each decision. A call is answered once the note about it is durable.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        team: Callable[[], KnownTeam | None],
        note: Note,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.team = team
        self._note = note
        self._clock = clock
        self._quota = CallQuota()

    def intercept_nexus_operation(
        self, next: worker.NexusOperationInboundInterceptor
    ) -> worker.NexusOperationInboundInterceptor:
        """Put the gate before the operations."""
        return _Gated(next, self)

    def admit(
        self,
        context: OperationContext,
        request: Any,
        links: frozenset[str],
        workflow_id: str = "",
    ) -> tuple[TeamSpec, Future[None]]:
        """The team that claims a call, and the note about it.

        Args:
            context: of the call.
            request: None: the call cancels an operation.
            links: the namespaces that the server names.
            workflow_id: of the operation that is cancelled.

        Raises:
            HandlerError: no team does, or the team may not ask for this, or not now; or there is no such operation.
        """
        digest = None if request is None else token.request_digest(request)
        arrival = _arrival(context, links, digest)
        team = self.team()
        unclaimed = refusal(arrival, team, self._clock())
        if team is None or unclaimed is not None:
            self._refused(arrival, "", unclaimed or "")
            raise HandlerError(UNCLAIMED, type=HandlerErrorType.UNAUTHENTICATED)
        spec = team.spec
        forbidden = _forbidden(spec, context.operation, request)
        if forbidden is not None:
            self._refused(arrival, spec.team, forbidden)
            raise HandlerError(forbidden, type=HandlerErrorType.UNAUTHORIZED)
        if request is not None:
            self._take(arrival, spec)
        elif not workflow_id.startswith(await_prefix(spec.team)):
            # Whoever reaches the server directly names any workflow.
            self._refused(arrival, spec.team, _NO_OPERATION)
            raise HandlerError(_NO_OPERATION, type=HandlerErrorType.NOT_FOUND)
        decision = Decision(
            team=spec.team,
            namespaces=links,
            operation=_named(arrival),
            request=request,
            granted=frozenset(spec.sources),
        )
        return spec, self._note(decision)

    def refuse_empty(
        self, context: OperationContext, links: frozenset[str]
    ) -> HandlerError:
        """Note a call without a request, which only a cancellation may lack; returns its error."""
        arrival = _arrival(context, links, digest="")
        reason = UNOPENED.get() or "the call has no request"
        self._refused(arrival, "", reason)
        return HandlerError(UNCLAIMED, type=HandlerErrorType.UNAUTHENTICATED)

    def _take(self, arrival: Arrival, spec: TeamSpec) -> None:
        """Take a call of the team's quota.

        The error is final: the caller's server would repeat the call at times of its own, until its token has expired.
        """
        seconds = self._quota.take(spec.calls_per_minute)
        if not seconds:
            return
        used = f"team {spec.team!r} has used its {spec.calls_per_minute:,} calls per minute"
        self._refused(arrival, spec.team, used)
        raise HandlerError(
            f"{used}; try again in {math.ceil(seconds)} s",
            type=HandlerErrorType.RESOURCE_EXHAUSTED,
            retryable_override=False,
        )

    def _refused(self, arrival: Arrival, team: str, reason: str) -> None:
        decision = Decision(
            team=team,
            namespaces=arrival.namespaces,
            operation=_named(arrival),
            refused=reason,
        )
        self._note(decision)


def _arrival(
    context: OperationContext, links: frozenset[str], digest: str | None
) -> Arrival:
    return Arrival(
        service=context.service,
        operation=context.operation,
        token=context.headers.get(token.HEADER, ""),
        namespaces=links,
        digest=digest,
    )


def _admitted(context: OperationContext, request: Any) -> AdmittedCall:
    """What the answer of an admitted call is bound to."""
    read = token.read(context.headers[token.HEADER])
    assert read is not None  # it was verified
    return AdmittedCall(key_id=read.key_id, sources=_sources_of(request))


def _sources_of(request: Any) -> tuple[str, ...]:
    """The sources that a request names."""
    if isinstance(request, SearchRequest):
        return tuple(request.sources)
    one: str | None = getattr(request, "source", None)
    return () if one is None else (one,)


class _Gated(worker.NexusOperationInboundInterceptor):
    def __init__(
        self, next: worker.NexusOperationInboundInterceptor, gate: Gate
    ) -> None:
        super().__init__(next)
        self._gate = gate

    async def execute_nexus_operation_start(
        self, input: worker.ExecuteNexusOperationStartInput
    ) -> _Result:
        context: StartOperationContext = input.ctx
        links = [link.url for link in context.inbound_links]
        namespaces = caller_namespaces(links)
        if input.input is None:
            raise self._gate.refuse_empty(context, namespaces)
        spec, noted = self._gate.admit(context, input.input, namespaces)
        # For the codec, which encodes the answer after all of this.
        ADMITTED.set(_admitted(context, input.input))
        caller = CALLER.set(spec)
        try:
            result = await super().execute_nexus_operation_start(input)
        finally:
            CALLER.reset(caller)
        await _durable(noted)
        return result

    async def execute_nexus_operation_cancel(
        self, input: worker.ExecuteNexusOperationCancelInput
    ) -> None:
        """Cancel a wait of this team, and nothing else."""
        workflow_id = _workflow_of(input.token)
        _, noted = self._gate.admit(input.ctx, None, frozenset(), workflow_id)
        await _durable(noted)
        await super().execute_nexus_operation_cancel(input)


async def _durable(noted: Future[None]) -> None:
    """Wait for the note about a call; what is not noted is not answered."""
    try:
        await asyncio.wrap_future(noted)
    except Exception as error:
        message = "the call cannot be logged now; call again"
        raise HandlerError(message, type=HandlerErrorType.UNAVAILABLE) from error


def _named(arrival: Arrival) -> str:
    if arrival.digest is None:
        return f"cancel {arrival.operation}"
    return arrival.operation


def reader_of(team: TeamSpec, groups: tuple[str, ...] = ()) -> Reader:
    """Who reads when a team asks for its end user.

    Raises:
        HandlerError: the team may not vouch for one of the groups.
    """
    others = sorted(set(groups) - set(team.groups))
    if others:
        message = f"groups: team {team.team!r} may not vouch for {others[0]!r}"
        raise HandlerError(message, type=HandlerErrorType.BAD_REQUEST)
    sources = frozenset(team.sources)
    return Reader(name=f"team:{team.team}", sources=sources, groups=groups)


def _forbidden(team: TeamSpec, operation: str, request: Any) -> str | None:
    """Which right a team lacks for a call; None: none."""
    needed = [_RIGHTS.get(operation, Right.OPERATE)]
    if isinstance(request, SearchRequest) and is_as_of(request):
        needed.append(Right.AS_OF)
    for right in needed:
        if right not in team.rights:
            return f"team {team.team!r} does not have the right {right.value!r}"
    return None


def _workflow_of(operation_token: str) -> str:
    """The workflow that an operation's token names; empty where it cannot be read."""
    padding = "=" * (-len(operation_token) % 4)
    try:
        decoded = base64.urlsafe_b64decode(operation_token + padding)
        named: Any = json.loads(decoded)
        return str(named["wid"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
