"""The Temporal client: address, namespace, payload codec. Names are upstream's (`TEMPORAL_*`, profiles)."""

import asyncio
import dataclasses
import logging
import weakref

from temporalio.client import Client
from temporalio.converter import DataConverter

from corpus.disclosure.error_text import service_text
from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError, DependencyError
from workers.config.addresses import api_key_file, temporal_profile
from workers.config.settings import Settings
from workers.temporal.converter import PayloadConverter
from workers.temporal.failures import (
    EncryptedFailureConverter,
    PublicFailureConverter,
)
from workers.tracing.switch import interceptors

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0


def plain_converter() -> DataConverter:
    """Plain JSON; of errors, what they may say in public."""
    return dataclasses.replace(
        DataConverter.default,
        payload_converter_class=PayloadConverter,
        failure_converter_class=PublicFailureConverter,
    )


def data_converter(settings: Settings) -> DataConverter:
    """Plain JSON, or encrypted where the operator gave keys."""
    converter = plain_converter()
    if settings.payload_keys:
        from workers.temporal.codec import EncryptionCodec

        converter = dataclasses.replace(
            converter,
            payload_codec=EncryptionCodec.from_file(settings.payload_keys),
            failure_converter_class=EncryptedFailureConverter,
        )
    return converter


async def temporal(settings: Settings, *, namespace: str | None = None) -> Client:
    """Connect.

    Raises:
        ConfigurationError: the address is not one.
        DependencyError: the server does not answer.
    """
    arguments = temporal_profile() or {"target_host": settings.temporal_address}
    address = arguments.get("target_host")
    arguments["namespace"] = namespace or settings.temporal_namespace
    try:
        client = await Client.connect(
            **arguments,
            data_converter=data_converter(settings),
            interceptors=interceptors(),
        )
    except ValueError as error:
        raise ConfigurationError(
            f"Temporal's address {address!r} (TEMPORAL_ADDRESS) is not host:port"
        ) from error
    except RuntimeError as error:
        raise DependencyError(
            f"Temporal does not answer at {address}: {service_text(error)}. Is it running? See `freshet status`."
        ) from error
    key = api_key_file()
    if key is not None:
        _keep_key_current(client, key)
    return client


# Tasks that nothing else refers to would be collected.
_KEEPING: set[asyncio.Task[None]] = set()


def _keep_key_current(client: Client, key: Secret) -> None:
    """Give a client the key that the file has now, for as long as the client is used."""
    used = weakref.ref(client)

    async def look() -> None:
        last = key.reveal()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            current = await asyncio.to_thread(key.reveal)
            client = used()
            if client is None:
                return
            if current != last:
                client.api_key = last = current
                logger.info(
                    "the client of Temporal has a new key",
                    extra={"action": "credentials"},
                )
            del client

    task = asyncio.create_task(look(), name="temporal-key")
    _KEEPING.add(task)
    task.add_done_callback(_KEEPING.discard)
