"""Metrics of a role for Prometheus: the Temporal SDK's own and Freshet's, at one address.

The SDK's exporter serves both, so a role has one endpoint and needs no further library. A counter that Freshet keeps
begins at 0 with each process; those of `workers.roles.corpus_metrics` begin at what the ledger says.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from temporalio.common import MetricMeter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError

from corpus.disclosure.error_text import service_text
from corpus.errors import ConfigurationError, FreshetError
from corpus.log_limit import LogLimit
from workers.config.settings import Settings
from workers.roles.table import ROLES

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

UPDATE_SECONDS = 10.0


def port_of(settings: Settings, role: str) -> int | None:
    """The port of a role's endpoint: the configured one, plus the role's place in the table; None: no endpoint."""
    if settings.metrics_port is None:
        return None
    return settings.metrics_port + list(ROLES).index(role)


def start(settings: Settings, role: str) -> None:
    """Serve `/metrics`, if the settings name a port; to be called before anything connects to Temporal.

    Raises:
        ConfigurationError: the address is no address of this machine, or is taken.
    """
    port = port_of(settings, role)
    if port is None:
        return
    host = settings.metrics_host
    if ":" in host:
        host = f"[{host}]"
    address = f"{host}:{port}"
    prometheus = PrometheusConfig(
        bind_address=address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
    )
    telemetry = TelemetryConfig(
        metrics=prometheus, global_tags={"role": role}, attach_service_name=False
    )
    try:
        runtime = Runtime(telemetry=telemetry)
    except ValueError as error:
        raise ConfigurationError(
            f"the metrics of {role} cannot be served at {address}: {service_text(error)}. "
            "FRESHET_METRICS_HOST is an IP address; a second process of a role on one machine needs another "
            "FRESHET_METRICS_PORT"
        ) from error
    Runtime.set_default(runtime)
    extra = {"action": "metrics", "role": role, "address": address}
    logger.info("metrics are served", extra=extra)


def meter() -> MetricMeter:
    """What creates instruments; without an endpoint they measure nothing."""
    return Runtime.default().metric_meter


async def keep_updated(*updates: Callable[[], Awaitable[None]]) -> None:
    """Call each of `updates` every ten seconds, for ever; they are independent of one another.

    A service that does not answer costs the values of that round; the time of the newest values stands still then.
    """
    updated = meter().create_gauge_float(
        "freshet_metrics_updated_timestamp_seconds",
        "when the values were last read, epoch",
        "seconds",
    )
    while True:
        if all([await _is_updated(update) for update in updates]):
            updated.set(time.time())
        await asyncio.sleep(UPDATE_SECONDS)


async def _is_updated(update: Callable[[], Awaitable[None]]) -> bool:
    try:
        await update()
    # What watches a role must not end it.
    except Exception as error:
        is_expected = isinstance(error, (FreshetError, RPCError))
        logger.warning(
            "metrics are not updated: %s",
            error,
            exc_info=not is_expected,
            extra={"action": "metrics_failed"},
        )
        return False
    return True
