"""Ask as a team would: `python -m examples.team.ask "query" --source peps --batch 3`. The team's worker must run."""

import argparse
import asyncio
import os
import sys
import textwrap
import uuid

from corpus.service import AwaitFreshRequest, SearchHit, SearchRequest
from examples.team.connect import ENDPOINT, TASK_QUEUE, connect
from examples.team.workflows import Answer, AskWorkflow, Question

# What the answer may wait for; `AwaitFreshRequest` says which of them belong together.
TARGETS = ("batch", "document_id", "version", "topic", "partition", "offset", "time_ms")


def question(arguments: argparse.Namespace) -> Question:
    """The question that the command line asks."""
    given = {name: getattr(arguments, name) for name in TARGETS}
    target = {name: value for name, value in given.items() if value is not None}
    wait_for = None
    if target:
        wait_for = AwaitFreshRequest(
            source=arguments.source,
            timeout_seconds=arguments.timeout,
            groups=tuple(arguments.group),
            **target,
        )
    return Question(
        search=SearchRequest(
            query=arguments.query,
            k=arguments.k,
            sources=(arguments.source,),
            groups=tuple(arguments.group),
        ),
        wait_for=wait_for,
        endpoint=arguments.endpoint,
    )


def lines(answer: Answer) -> list[str]:
    """The answer for people: how the wait ended, then one line per hit."""
    shown: list[str] = []
    if answer.waited:
        shown.append(f"{answer.waited.why}: {answer.waited.detail}")
    if answer.found:
        shown += [hit_line(hit) for hit in answer.found.hits]
    return shown


def hit_line(hit: SearchHit) -> str:
    """Score, document, version, batch and the beginning of the text."""
    text = textwrap.shorten(hit.text, 160)
    document = f"{hit.document_id} v{hit.version}"
    return f"{hit.score:.3f}  {document} (batch {hit.batch})  {text}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("query")
    command.add_argument("--source", required=True)
    command.add_argument("-k", type=int, default=5, help="number of hits")
    command.add_argument(
        "--timeout", type=int, default=60, help="seconds to wait for the target"
    )
    command.add_argument(
        "--group",
        action="append",
        default=[],
        help="a group of the person who asks; may be repeated",
    )
    command.add_argument("--document-id")
    command.add_argument("--topic")
    for name in ("--batch", "--version", "--partition", "--offset", "--time-ms"):
        command.add_argument(name, type=int)
    command.add_argument(
        "--endpoint", default=ENDPOINT, help="the team's Nexus endpoint of the corpus"
    )
    command.add_argument("--stack", help="stack.json of a local stack")
    return command


async def main() -> int:
    """Ask once."""
    arguments = parser().parse_args()
    client = await connect(arguments.stack)
    answer = await client.execute_workflow(
        AskWorkflow.run,
        question(arguments),
        id=f"ask:{uuid.uuid4()}",
        task_queue=TASK_QUEUE,
    )
    sys.stdout.writelines(f"{line}\n" for line in lines(answer))
    return 0 if answer.found else 1


if __name__ == "__main__":
    code = asyncio.run(main())
    sys.stdout.flush()
    os._exit(code)  # see worker.py
