"""For a team: a line that signs its calls of `CorpusService`, and a line that opens the answers.

They are `Worker(..., interceptors=[SignedCalls(...)])` and `Client.connect(..., data_converter=opened_answers(...))`.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from temporalio import worker, workflow
from temporalio.converter import DataConverter

from corpus.access import token
from corpus.access.keys import read_keys
from corpus.errors import ConfigurationError

_SIGN = "freshet_sign_call"


def opened_answers(
    team: str,
    key_file: str | Path,
    converter: DataConverter = DataConverter.default,
    *,
    strict: bool = True,
    seal_own: bool = False,
) -> DataConverter:
    """The data converter of a team's client: it encrypts requests with the team's key, and decrypts answers.

    Args:
        team: its name in Freshet's configuration.
        key_file: its keys, as of `SignedCalls`. Read for each payload, so that a new key needs no restart.
        converter: the team's own; its codec is used for everything else.
        strict: refuse the answer of a search or a description that is not encrypted; the workflow task fails, and goes
            on once the answer can be opened.
        seal_own: encrypt with the team's key whatever else this client's workflows write: inputs, results, activities.

    Raises:
        ConfigurationError: the file holds no key, or `cryptography` is missing.
    """
    try:
        from corpus.access.codec import TeamCodec
    except ImportError as error:
        raise ConfigurationError(
            "answers are opened with the package `cryptography`: install `freshet[team]`"
        ) from error
    path = Path(key_file)
    read_keys(path)  # a missing file is an error now, not at an answer
    codec = TeamCodec(
        team, path, strict=strict, seal_own=seal_own, rest=converter.payload_codec
    )
    return dataclasses.replace(converter, payload_codec=codec)


class SignedCalls(worker.Interceptor):
    """Puts a token of the team into the headers of each call.

    A token is made when a call is scheduled, and is valid for `valid_seconds`: a call that waits longer for a gateway
    is refused, and the workflow calls again.

    Args:
        team: its name in Freshet's configuration.
        key_file: its keys; the first signs. Read at each call, so that a new key needs no restart.
        valid_seconds: of a token, at most `token.MAX_VALID_SECONDS`.
    """

    def __init__(
        self,
        team: str,
        key_file: str | Path,
        *,
        valid_seconds: int = token.VALID_SECONDS,
    ) -> None:
        self._team = team
        self._key_file = Path(key_file)
        self._valid_seconds = valid_seconds
        read_keys(self._key_file)  # a missing file is an error now, not at a call

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Runs beside the workflow; the key stays outside of its sandbox."""
        input.unsafe_extern_functions[_SIGN] = self._sign  # pyright: ignore[reportUnknownMemberType]
        return _Inbound

    def _sign(self, endpoint: str, operation: str, request: Any) -> str:
        keys = read_keys(self._key_file)
        key_id = next(iter(keys))
        call = token.Call(
            service=token.SERVICE,
            operation=operation,
            endpoint=endpoint,
            digest=token.request_digest(request),
        )
        return token.sign(
            call,
            team=self._team,
            key_id=key_id,
            key=keys[key_id],
            now=int(time.time()),
            valid_seconds=self._valid_seconds,
        )


class _Inbound(worker.WorkflowInboundInterceptor):
    """Puts the signing before what goes out."""

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(worker.WorkflowOutboundInterceptor):
    """A replay signs nothing: its calls were sent."""

    async def start_nexus_operation(
        self, input: worker.StartNexusOperationInput[Any, Any]
    ) -> workflow.NexusOperationHandle[Any]:
        is_replaying = workflow.unsafe.is_replaying()
        if input.service == token.SERVICE and not is_replaying:
            # Temporal's type of these functions says nothing of what they return.
            sdk = cast(Any, workflow)
            sign: Callable[..., str] = sdk.extern_functions()[_SIGN]
            signed = sign(input.endpoint, input.operation_name, input.input)
            input.headers = {**(input.headers or {}), token.HEADER: signed}
        return await super().start_nexus_operation(input)
