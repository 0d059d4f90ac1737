"""The commands: tables, JSON, exit codes, one clear error."""

import asyncio
import json

import pytest

from corpus.errors import ConfigurationError
from freshness.workflows import FreshnessWorkflow
from tests.support.team_env import add_batch, connection_to, fill, make_env, make_source
from workers.cli.commands import freshness, subscriptions
from workers.cli.console import CommandError

pytestmark = pytest.mark.service


@pytest.fixture
async def env(database_url, temporal_env, monkeypatch):
    made = await make_env(database_url, temporal_env)
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", made.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", made.client.namespace)
    return made


async def test_report_and_check(env, capsys):
    with connection_to(env) as db:
        make_source(db, warn_after_seconds=3_600)
        fill(db)
        make_source(db, "unchecked")
    async with env.light_worker():
        assert await asyncio.to_thread(freshness.check, "peps", as_json=True) == 0
    capsys.readouterr()
    assert freshness.report("peps") == 0
    assert "pass" in capsys.readouterr().out
    assert freshness.report(as_json=True) == 1  # the other was never checked
    told = {
        result["unique_id"]: result["status"]
        for result in json.loads(capsys.readouterr().out)["results"]
    }
    assert told == {"source.freshet.peps": "pass", "source.freshet.unchecked": "runtime error"}
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        freshness.report("nope")
    with pytest.raises(ConfigurationError, match="there is no source 'nope'"):
        freshness.check("nope")


async def test_a_check_that_nobody_runs_says_so(env):
    with connection_to(env) as db:
        make_source(db)
    with pytest.raises(CommandError, match="no result after 1 s"):
        await asyncio.to_thread(freshness.check, "peps", timeout=1)
    async with env.light_worker():
        result = await env.client.get_workflow_handle_for(
            FreshnessWorkflow.run, "freshness/peps"
        ).result()
    assert result.status == "pass"  # it went on


async def test_subscriptions(env, capsys):
    with connection_to(env) as db:
        make_source(db)
        add_batch(db, "peps", 1)
        await env.reconcile(env.subscriber("peps"))
    await asyncio.to_thread(subscriptions.show, as_json=True)
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["subscriber"], row["source"], row["behind"], row["delivery"]) == (
        "team",
        "peps",
        1,
        "idle",
    )
    with pytest.raises(CommandError, match="'team' has no subscription to source 'other'"):
        subscriptions.resume("team", "other")
    await asyncio.to_thread(subscriptions.resume, "team", "peps")
