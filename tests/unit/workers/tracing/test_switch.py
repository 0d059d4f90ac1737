"""The environment of OpenTelemetry switches traces on; a value that cannot be used ends the process by name."""

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from corpus.errors import ConfigurationError
from workers.tracing import switch

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", ENDPOINT: "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "True", ENDPOINT: "http://c:4318"}, False),
    ],
)
def test_the_environment_decides(environment: dict[str, str], wanted: bool) -> None:
    assert switch.is_wanted(environment) is wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        (ENDPOINT, "localhost:4318"),
        (ENDPOINT, "http://"),
        (ENDPOINT, "http://host:none"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "//collector/v1/traces"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "half"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        switch.start("test")
    assert value in str(caught.value)
    assert name in str(caught.value)
    assert switch.interceptors() == ()


def test_what_only_the_library_refuses_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with pytest.raises(ConfigurationError, match="max_queue_size"):
        switch.start("test")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_otlp(name: str) -> Any:
        if name == "opentelemetry.exporter.otlp.proto.http":
            raise ModuleNotFoundError("no", name="opentelemetry.exporter")
        return import_module(name)

    monkeypatch.setattr(switch, "import_module", without_otlp)
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match=r"opentelemetry\.exporter is not .*\[otel\]"):
        switch.start("test")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ENDPOINT, "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER"):
        monkeypatch.setenv(name, " ")
    switch.start("test")
    assert switch.interceptors() == ()


def test_switched_off_no_library_of_it_is_imported() -> None:
    code = (
        "import sys, workers.roles.consumer, workers.temporal.client; "
        "from workers.tracing import switch; switch.start('consumer'); "
        "switch.staging_span(), switch.interceptors(), switch.stop(); "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_switched_off_records_get_no_header() -> None:
    with switch.producing("topic") as headers:
        assert headers == {}
