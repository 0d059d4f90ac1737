"""How a role runs: from its name to a process that works until a signal ends it."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

from temporalio.client import Client
from temporalio.worker import Worker

from corpus.disclosure.key_ring import KeyRing
from corpus.errors import ConfigurationError
from workers import logs
from workers.config.settings import Settings, load, of_role
from workers.roles import metrics, start
from workers.roles.table import ROLES
from workers.roles.watch import until_left
from workers.schema_registry import use_schema_registry
from workers.temporal.client import temporal
from workers.tracing import switch as tracing

logger = logging.getLogger(__name__)


class WorkerOptions(TypedDict):
    """Arguments of `Worker` that are the same for all roles."""

    graceful_shutdown_timeout: timedelta
    max_heartbeat_throttle_interval: timedelta
    default_heartbeat_throttle_interval: timedelta


# A heartbeat must reach the server every second; the SDK's default is 80 % of the heartbeat timeout.
_HEARTBEAT = timedelta(seconds=1)
WORKER_OPTIONS: WorkerOptions = {
    "graceful_shutdown_timeout": timedelta(seconds=15),
    "max_heartbeat_throttle_interval": _HEARTBEAT,
    "default_heartbeat_throttle_interval": _HEARTBEAT,
}


async def run_role(name: str) -> None:
    """Run one role until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: the role or a setting is wrong, a way to a server is not safe, or migrations are missing.
        InstallationError: something that the role uses is another installation's.
        DependencyError: a service does not answer at the start.
    """
    role = ROLES.get(name)
    if role is None:
        raise ConfigurationError(
            f"there is no role {name!r}; roles are {', '.join(ROLES)}"
        )
    settings = of_role(load(), name)
    logs.configure(name, level=settings.log_level, form=settings.log_format)
    asyncio.get_running_loop().set_exception_handler(logs.log_uncaught_of_loop)
    metrics.start(settings, name)
    tracing.start(name, metrics.meter())
    module = import_module(role.module)
    try:
        _read_keys(settings)
        use_schema_registry(settings)
        if name != "consumer":  # which waits for its services by itself
            await _check(settings, name)
        await module.run(settings)
    finally:
        tracing.stop()


def _read_keys(settings: Settings) -> None:
    """Refuse a wrong file of keys before any service is waited for."""
    if settings.payload_keys:
        KeyRing.from_file(settings.payload_keys)


async def _check(settings: Settings, name: str) -> None:
    await start.wait_for_migrations(settings, name)
    client = await temporal(settings)
    await start.check_role(settings, name, client)


def on_signal(callback: Callable[[], object]) -> None:
    """Call back when the process is asked to end: SIGTERM, or SIGINT from a terminal."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, callback)


async def serve(
    worker: Worker, role: str, **background: Coroutine[Any, Any, None]
) -> None:
    """Run a worker until a signal comes, then stop gracefully.

    Args:
        worker: of the role.
        role: its name.
        background: what runs beside the worker, by name; the end of one ends the role.

    Raises:
        Exception: what ended the worker, or a task beside it.
    """
    leaving = asyncio.Event()
    on_signal(leaving.set)
    async with worker:
        mark_ready(role)
        await until_left(leaving, background)
        logger.info("stopping", extra={"action": "worker_stopping", "role": role})


def mark_ready(role: str) -> None:
    """Notify the program that started the process: the pid goes into the file that FRESHET_READY_FILE names."""
    logger.info("ready", extra={"action": "worker_ready", "role": role})
    if path := os.environ.get("FRESHET_READY_FILE"):
        Path(path).write_text(str(os.getpid()), encoding="utf-8")


def activity_worker(
    client: Client,
    queue: str,
    activities: Sequence[Callable[..., Any]],
    *,
    threads: int,
) -> Worker:
    """A worker of activities that block; at most `threads` of them run side by side."""
    return Worker(
        client,
        task_queue=queue,
        activities=activities,
        activity_executor=ThreadPoolExecutor(threads),
        max_concurrent_activities=threads,
        **WORKER_OPTIONS,
    )
