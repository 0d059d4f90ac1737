"""Promise 10: with payload keys, a real Temporal server holds nothing readable.

This covers inputs, results, signals and messages of failures.
"""

import base64
import dataclasses
import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.worker import Worker

from corpus.errors import ConfigurationError, FreshetError, as_application_error
from tests.support.fix_temporal import TemporalEnv
from tests.support.polling import until
from workers.config.settings import load
from workers.temporal.client import data_converter
from workers.temporal.codec import EncryptionCodec

SECRET = "the levee breaks at noon"


@activity.defn(name="test.refuse")
async def refuse(text: str) -> None:
    try:
        raise ConfigurationError(f"cannot use {text}")
    except FreshetError as error:
        raise as_application_error(error) from error


@workflow.defn(name="SecretWorkflow", sandboxed=False)
class SecretWorkflow:
    def __init__(self) -> None:
        self.heard = ""

    @workflow.signal
    def hear(self, text: str) -> None:
        self.heard = text

    @workflow.run
    async def run(self, text: str) -> str:
        await workflow.wait_condition(lambda: bool(self.heard))
        if self.heard != text:
            await workflow.execute_activity(
                refuse, self.heard, schedule_to_close_timeout=timedelta(seconds=10)
            )
        return self.heard


@pytest.fixture
async def client(
    temporal_env: TemporalEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Client:
    """Connected as every role is, with a key file."""
    keys = tmp_path / "keys"
    keys.write_text(f"new={base64.b64encode(os.urandom(32)).decode()}\n", encoding="utf-8")
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=unused")
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "unused:9092")
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_env.address)
    monkeypatch.setenv("FRESHET_PAYLOAD_KEYS", str(keys))
    return await temporal_env.client(data_converter=data_converter(load(tmp_path)))


async def started(client: Client) -> Any:
    handle = await client.start_workflow(
        "SecretWorkflow", SECRET, id=uuid.uuid4().hex, task_queue="secret", result_type=str
    )
    return handle


async def test_the_server_holds_nothing_readable(client: Client) -> None:
    async with Worker(client, task_queue="secret", workflows=[SecretWorkflow], activities=[refuse]):
        handle = await started(client)
        await handle.signal("hear", SECRET)
        assert await handle.result() == SECRET
        failing = await started(client)
        await failing.signal("hear", SECRET + ", they say")
        with pytest.raises(WorkflowFailureError) as caught:
            await failing.result()
    assert SECRET in str(caught.value.cause.cause)  # who has the key reads what happened
    for each in (handle, failing):
        held = (await each.fetch_history()).to_json()
        assert SECRET not in held
        assert base64.b64encode(SECRET.encode()).decode()[:-4] not in held
        assert base64.b64encode(b"binary/encrypted").decode() in held


async def test_after_a_rotation_old_and_new_are_read(
    client: Client, temporal_env: TemporalEnv, tmp_path: Path
) -> None:
    handle = await started(client)  # with the key that will be the old one
    old = (tmp_path / "keys").read_text(encoding="utf-8")
    (tmp_path / "keys").write_text(
        f"newer={base64.b64encode(os.urandom(32)).decode()}\n{old}", encoding="utf-8"
    )
    codec = EncryptionCodec.from_file(str(tmp_path / "keys"))
    converter = dataclasses.replace(data_converter(load(tmp_path)), payload_codec=codec)
    rotated = await temporal_env.client(client.namespace, data_converter=converter)
    async with Worker(
        rotated, task_queue="secret", workflows=[SecretWorkflow], activities=[refuse]
    ):
        again = rotated.get_workflow_handle(handle.id, result_type=str)
        await again.signal("hear", SECRET)
        assert await again.result() == SECRET


async def test_a_worker_with_another_key_file_fails_no_workflow(
    client: Client, temporal_env: TemporalEnv, tmp_path: Path
) -> None:
    """It cannot read the input; the task is tried again, and a worker that has the key finishes the workflow."""
    handle = await started(client)
    await handle.signal("hear", SECRET)
    (tmp_path / "others").write_text(
        f"new={base64.b64encode(os.urandom(32)).decode()}\n", encoding="utf-8"
    )
    codec = EncryptionCodec.from_file(str(tmp_path / "others"))
    converter = dataclasses.replace(data_converter(load(tmp_path)), payload_codec=codec)
    other = await temporal_env.client(client.namespace, data_converter=converter)
    work: Any = {"task_queue": "secret", "workflows": [SecretWorkflow], "activities": [refuse]}
    async with Worker(other, **work):

        async def refused() -> bool:
            history = await handle.fetch_history()
            return any(
                event.HasField("workflow_task_failed_event_attributes") for event in history.events
            )

        await until(refused)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    async with Worker(client, **work):
        assert await handle.result() == SECRET
