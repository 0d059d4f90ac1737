"""Whether traces are made: OpenTelemetry's own environment decides. Off, none of its libraries is imported.

`start` is called once per process, before anything connects to Temporal; `stop` before the process ends.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from temporalio.client import Interceptor
from temporalio.common import MetricMeter

from corpus.disclosure.error_text import service_text
from corpus.errors import ConfigurationError

if TYPE_CHECKING:
    from ingest.consume.services import StagingSpan
    from workers.tracing.spans import Spans

# The more specific name comes first, as OpenTelemetry reads them.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_EXPORTERS = ("otlp", "none")
_RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS = (
    *("always_on", "always_off", "parentbased_always_on", "parentbased_always_off"),
    *_RATIO_SAMPLERS,
)
_LIBRARIES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")

_running: "Spans | None" = None


def start(role: str, meter: MetricMeter = MetricMeter.noop) -> None:
    """Make spans from now on, where the environment asks for them.

    Args:
        role: of the process, for the resource that its spans name.
        meter: counts the spans.

    Raises:
        ConfigurationError: a variable has a value that cannot be used, or a library is not installed.
    """
    global _running
    environment = _given(os.environ)
    if not is_wanted(environment):
        return
    _require_usable(environment)
    _require_libraries()
    # OpenTelemetry's libraries take some empty values for values.
    for name in os.environ.keys() - environment.keys():
        if name.startswith("OTEL_"):
            del os.environ[name]
    from workers.tracing.spans import Spans

    try:
        _running = Spans(role, meter)
    except ValueError as error:
        raise ConfigurationError(
            f"OpenTelemetry cannot use its variables (OTEL_...): {service_text(error)}"
        ) from error


def stop() -> None:
    """Deliver what is left, for a bounded time; make no more spans."""
    global _running
    running, _running = _running, None
    if running is not None:
        running.stop()


def interceptors() -> Sequence[Interceptor]:
    """For a client of Temporal, and for the workers that use it."""
    if _running is None:
        return ()
    from workers.tracing.interceptor import TraceInterceptor

    return (TraceInterceptor(_running),)


def staging_span() -> "StagingSpan":
    """For the consumer."""
    from ingest.consume.services import without_span

    if _running is None:
        return without_span
    return _running.staging


@contextmanager
def producing(topic: str) -> Generator[dict[str, str]]:
    """The span of records that are sent to a topic; gives the headers that the records carry."""
    if _running is None:
        yield {}
        return
    with _running.producing(topic) as headers:
        yield headers


# ── the environment ─────────────────────────────────────────────────────────────────────────────────────────────────


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    """Without empty variables: OpenTelemetry's specification takes them for variables that are not set."""
    stripped = {name: value.strip() for name, value in environment.items()}
    return {name: value for name, value in stripped.items() if value}


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces.

    Raises:
        ConfigurationError: it names an exporter that Freshet does not have.
    """
    disabled = environment.get("OTEL_SDK_DISABLED", "")
    if disabled.lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER")
    if exporter is None:
        return not environment.keys().isdisjoint(_ENDPOINTS)
    _require_one_of("OTEL_TRACES_EXPORTER", exporter, _EXPORTERS)
    return exporter == "otlp"


def _require_usable(environment: Mapping[str, str]) -> None:
    """What OpenTelemetry's libraries would only log, or find when spans are sent, ends the process by name."""
    for name in _PROTOCOLS:
        protocol = environment.get(name, _PROTOCOL)
        _require_one_of(name, protocol, (_PROTOCOL,))
    for name in _ENDPOINTS:
        endpoint = environment.get(name)
        if endpoint is not None:
            _require_url(name, endpoint)
    sampler = environment.get("OTEL_TRACES_SAMPLER")
    if sampler is None:
        return
    _require_one_of("OTEL_TRACES_SAMPLER", sampler, _SAMPLERS)
    if sampler in _RATIO_SAMPLERS:
        ratio = environment.get("OTEL_TRACES_SAMPLER_ARG", "1")
        _require_ratio(ratio)


def _require_one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        names = ", ".join(known)
        raise ConfigurationError(
            f"{name}={value!r} is not one that Freshet has: {names}"
        )


def _require_url(name: str, value: str) -> None:
    problem = f"{name}={value!r} is not a URL as http://localhost:4318"
    try:
        url = urlsplit(value)
        port = url.port  # raises where it is none
    except ValueError as error:
        raise ConfigurationError(problem) from error
    has_scheme = url.scheme in ("http", "https")
    has_host = bool(url.hostname)
    if not has_scheme or not has_host or port == 0:
        raise ConfigurationError(problem)


def _require_ratio(value: str) -> None:
    problem = f"OTEL_TRACES_SAMPLER_ARG={value!r} is not a number from 0 to 1"
    try:
        ratio = float(value)
    except ValueError as error:
        raise ConfigurationError(problem) from error
    if not 0 <= ratio <= 1:
        raise ConfigurationError(problem)


def _require_libraries() -> None:
    for library in _LIBRARIES:
        try:
            import_module(library)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"the environment asks for traces (OTEL_...), and {error.name} is not installed: "
                "install the extra `otel` (pip install 'freshet[otel]'), or set OTEL_TRACES_EXPORTER=none"
            ) from error
