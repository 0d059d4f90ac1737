"""The payload codecs of both ends of a team's calls: what is sealed, what is opened, and what is refused in plain."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    NexusSerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)
from typing_extensions import override

from corpus.access import token
from corpus.access.admission import KnownTeam
from corpus.access.keys import read_keys
from corpus.access.sealing import (
    ANSWER,
    OWN,
    REQUEST,
    Place,
    is_sealed,
    key_id_of,
    open_sealed,
    seal,
)
from corpus.access.team import Answers
from corpus.errors import ConfigurationError

_NOTHING = Payload(metadata={"encoding": b"binary/null"})


class CallCodec(PayloadCodec, WithSerializationContext):
    """Leaves payloads that belong to no call of `CorpusService` to another codec.

    Args:
        rest: the other codec; None: those payloads are plain.
    """

    def __init__(self, rest: PayloadCodec | None) -> None:
        self._rest = rest
        # What the payloads belong to; None where Temporal does not say.
        self._context: SerializationContext | None = None

    @override
    def with_context(self, context: SerializationContext) -> Self:
        """The codec of what belongs to a call, a workflow or an activity."""
        made = self._copy()
        made._context = context
        if isinstance(self._rest, WithSerializationContext):
            made._rest = self._rest.with_context(context)
        return made

    def _copy(self) -> Self:
        raise NotImplementedError

    def _call(self) -> NexusSerializationContext | None:
        """The call that the payloads belong to."""
        context = self._context
        if not isinstance(context, NexusSerializationContext):
            return None
        if context.service != token.SERVICE:
            return None
        return context

    async def _encode_rest(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self._rest is None:
            return list(payloads)
        return await self._rest.encode(payloads)

    async def _decode_rest(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self._rest is None:
            return list(payloads)
        return await self._rest.decode(payloads)


# ── the team ────────────────────────────────────────────────────────────────────────────────────────────────────────


class TeamCodec(CallCodec):
    """Of a team's client: seals requests, opens answers. It runs beside the workflows, outside of their sandbox.

    Args:
        team: its name in Freshet's configuration.
        key_file: its keys; the first seals, every one opens. Read for each payload.
        strict: refuse an answer of `search` and `describe_source` that is plain.
        seal_own: seal whatever else this client's workflows write, too; their results, for one, may hold hits.
        rest: the team's own codec, for payloads that are not sealed here.
    """

    def __init__(
        self,
        team: str,
        key_file: Path,
        *,
        strict: bool = True,
        seal_own: bool = False,
        rest: PayloadCodec | None = None,
    ) -> None:
        super().__init__(rest)
        self._team = team
        self._key_file = key_file
        self._strict = strict
        self._seal_own = seal_own

    @override
    def _copy(self) -> Self:
        return type(self)(
            self._team,
            self._key_file,
            strict=self._strict,
            seal_own=self._seal_own,
            rest=self._rest,
        )

    @override
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal requests, and what is the team's own if it wants that."""
        place = self._place(REQUEST)
        if place is None:
            return await self._encode_rest(payloads)
        keys = read_keys(self._key_file)
        key_id = next(iter(keys))
        key = keys[key_id]
        return [seal(payload, place, key_id=key_id, key=key) for payload in payloads]

    @override
    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open answers, and what is the team's own.

        Raises:
            ConfigurationError: one cannot be opened, or is plain and should not be.
        """
        opened: list[Payload] = []
        for payload in payloads:
            opened += await self._decoded(payload)
        return opened

    async def _decoded(self, payload: Payload) -> list[Payload]:
        if is_sealed(payload):
            return [self._opened(payload)]
        call = self._call()
        if call is not None and self._strict and call.operation in WITH_CONTENT:
            raise ConfigurationError(
                f"the answer of {call.operation!r} at endpoint {call.endpoint!r} is not encrypted with a key of team "
                f'{self._team!r}, and this client refuses such answers: set `answers = "encrypted"` in '
                f"[team.{self._team}] of Freshet's configuration, or `strict=False` here"
            )
        return await self._decode_rest([payload])

    def _opened(self, payload: Payload) -> Payload:
        place = self._place(ANSWER)
        if place is None:
            place = Place(team=self._team, part=OWN)
        return open_sealed(payload, place, read_keys(self._key_file))

    def _place(self, part: str) -> Place | None:
        """Where the payloads belong; None: they are the business of the other codec."""
        call = self._call()
        if call is not None:
            return place_of(self._team, part, call.endpoint, call.operation)
        is_nexus = isinstance(self._context, NexusSerializationContext)
        if self._seal_own and not is_nexus:  # other services do not have the key
            return Place(team=self._team, part=OWN)
        return None


# Operations whose answers hold texts, or numbers about them.
WITH_CONTENT = frozenset({"search", "describe_source"})


def place_of(team: str, part: str, endpoint: str, operation: str) -> Place:
    """Where a payload of a call belongs."""
    return Place(team=team, part=part, endpoint=endpoint, operation=operation)


# ── the gateway ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedCall:
    """What the gate has learned of a call, for its answer."""

    key_id: str  # that signed its token: the team has it
    sources: tuple[str, ...]  # that it names


# Of the call that is being answered.
ADMITTED: ContextVar[AdmittedCall] = ContextVar("freshet-admitted")

# Why the request that is being answered could not be opened; the gate refuses it.
UNOPENED: ContextVar[str] = ContextVar("freshet-unopened", default="")


class GatewayCodec(CallCodec):
    """Of the worker of a team's queue: opens requests, seals answers with the key that signed the call.

    Answers to a team that has them in plain are Freshet's codec's, as they were before teams had keys for answers.

    Args:
        team: the team of the queue as it is now.
        rest: Freshet's codec.
    """

    def __init__(
        self, team: Callable[[], KnownTeam | None], rest: PayloadCodec | None
    ) -> None:
        super().__init__(rest)
        self._team = team

    @override
    def _copy(self) -> Self:
        return type(self)(self._team, self._rest)

    @override
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal answers, where the team's are.

        Raises:
            ConfigurationError: they are, and the key is gone; nothing is answered in plain.
        """
        call = self._call()
        if call is None:
            return await self._encode_rest(payloads)
        team = self._team()
        admitted = ADMITTED.get(None)
        if team is None or admitted is None:
            raise ConfigurationError("the call was not admitted, so it has no answer")
        if team.spec.answers == Answers.PLAIN:
            return await self._encode_rest(payloads)
        key = team.keys.get(admitted.key_id)
        if key is None:
            raise ConfigurationError(
                f"key {admitted.key_id!r} of team {team.spec.team!r} was removed; call again with another one"
            )
        place = place_of(team.spec.team, ANSWER, team.spec.endpoint, call.operation)
        options: dict[str, Any] = {
            "key_id": admitted.key_id,
            "key": key,
            "sources": ",".join(sorted(admitted.sources)),
        }
        return [seal(payload, place, **options) for payload in payloads]

    @override
    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open requests. One that does not open becomes no request, which the gate refuses and the log tells."""
        call = self._call()
        if call is None:
            return await self._decode_rest(payloads)
        return [await self._request(payload, call.operation) for payload in payloads]

    async def _request(self, payload: Payload, operation: str) -> Payload:
        if is_sealed(payload):
            return self._opened(payload, operation)
        try:
            [decoded] = await self._decode_rest([payload])
        except ConfigurationError:
            UNOPENED.set("the request is encrypted with a key that Freshet lacks")
            return _NOTHING
        return decoded

    def _opened(self, payload: Payload, operation: str) -> Payload:
        team = self._team()
        if team is None:
            UNOPENED.set("the endpoint is no team's")
            return _NOTHING
        place = place_of(team.spec.team, REQUEST, team.spec.endpoint, operation)
        keys: Mapping[str, bytes] = team.keys
        try:
            return open_sealed(payload, place, keys)
        except ConfigurationError:
            key_id = key_id_of(payload)
            UNOPENED.set(f"the request does not open with the team's key {key_id!r}")
            return _NOTHING
