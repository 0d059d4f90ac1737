"""The fixtures themselves: every service answers, and tests do not see each other."""

import pytest

pytestmark = pytest.mark.service


def test_each_test_has_a_migrated_database_of_its_own(database_url: str, postgres_url: str) -> None:
    from corpus.database import connect, migrate

    assert migrate(database_url) == []
    assert database_url != postgres_url
    with connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM freshet.source").fetchone() == (0,)


def test_a_document_of_20_megabytes_passes_through_kafka(kafka_bootstrap: str, make_topic) -> None:
    from confluent_kafka import Consumer, Producer

    topic = make_topic()
    body = bytes(range(256)) * (20 * 4096)
    producer = Producer(
        {"bootstrap.servers": kafka_bootstrap, "message.max.bytes": 64 * 1024 * 1024}
    )
    for number in range(4):
        producer.produce(topic, body, key=str(number))
    assert producer.flush(60) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": kafka_bootstrap,
            "group.id": "big",
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 64 * 1024 * 1024,
            "receive.message.max.bytes": 200_000_000,
        }
    )
    consumer.subscribe([topic])
    sizes = [
        len(message.value())
        for _ in range(4)
        if (message := consumer.poll(30)) is not None and message.error() is None
    ]
    consumer.close()
    assert sizes == [len(body)] * 4


async def test_a_namespace_has_our_search_attributes(temporal_env, temporal_namespace) -> None:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

    namespace = await temporal_namespace()
    client = await temporal_env.client(namespace)
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    assert {"FreshetSource", "FreshetState", "FreshetSpecHash"} <= set(listed.custom_attributes)


async def test_a_namespace_that_was_asked_for_too_early_is_waited_for(temporal_env) -> None:
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    from compose.local.parts.temporal_namespace import prepare_namespace

    client = await Client.connect(temporal_env.address)
    with pytest.raises(RPCError, match="not found"):
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace="early")
        )
    assert await prepare_namespace(client, "early") is True
    assert await prepare_namespace(client, "early") is False


async def test_namespaces_of_two_tests_differ(temporal_client, temporal_namespace) -> None:
    assert temporal_client.namespace != await temporal_namespace()


async def test_a_server_can_suggest_continue_as_new_early(temporal_short_history) -> None:
    client = await temporal_short_history.client()
    assert client.namespace.startswith("test-")
