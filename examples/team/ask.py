"""Ask as a team would: `python -m examples.team.ask "query" --source peps --batch 3`. The team's worker must run."""

import argparse
import asyncio
import os
import sys
import textwrap
import uuid

from corpus.service import CORPUS_ENDPOINT, AwaitFreshRequest, SearchRequest
from examples.team.connect import TASK_QUEUE, connect
from examples.team.workflows import Answer, AskWorkflow, Question


def question(arguments: argparse.Namespace) -> Question:
    """From the command line."""
    ways = {
        name: getattr(arguments, name)
        for name in ("batch", "document_id", "version", "topic", "partition", "offset", "time_ms")
    }
    named = {name: value for name, value in ways.items() if value is not None}
    wait = (
        AwaitFreshRequest(source=arguments.source, timeout_seconds=arguments.timeout, **named)
        if named
        else None
    )
    return Question(
        search=SearchRequest(query=arguments.query, k=arguments.k, sources=(arguments.source,)),
        wait_for=wait,
        endpoint=arguments.endpoint,
    )


def show(answer: Answer) -> None:
    """For people."""
    if answer.waited:
        sys.stdout.write(f"{answer.waited.why}: {answer.waited.detail}\n")
    for hit in answer.found.hits if answer.found else ():
        text = textwrap.shorten(hit.text, 160)
        sys.stdout.write(
            f"{hit.score:.3f}  {hit.document_id} v{hit.version} (batch {hit.batch})  {text}\n"
        )


async def main() -> int:
    """Ask once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("query")
    parser.add_argument("--source", required=True)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--timeout", type=int, default=60, help="seconds to wait for fresh data")
    parser.add_argument("--document-id")
    parser.add_argument("--topic")
    for name in ("--batch", "--version", "--partition", "--offset", "--time-ms"):
        parser.add_argument(name, type=int)
    parser.add_argument("--endpoint", default=CORPUS_ENDPOINT, help="Nexus endpoint of the corpus")
    parser.add_argument("--stack", help="stack.json of a local stack")
    arguments = parser.parse_args()
    client = await connect(arguments.stack)
    answer = await client.execute_workflow(
        AskWorkflow.run, question(arguments), id=f"ask:{uuid.uuid4()}", task_queue=TASK_QUEUE
    )
    show(answer)
    return 0 if answer.found else 1


if __name__ == "__main__":
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)  # see worker.py
