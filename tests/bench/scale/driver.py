"""Runs the code of one revision: migrations, indexes, publishing. Each line of input is a command in JSON.

It is started as a program in the tree of that revision, so it imports nothing of this package.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from corpus.database import migrate
from corpus.embed.space_indexes import build_missing
from corpus.embed.spaces import SpaceRegistry
from tests.support.pipeline import Pipeline, make_event

try:
    from corpus.embed.history_index import history_waits
except ImportError:  # the revision has no index of closed chunks
    history_waits = None


class Driver:
    """One database."""

    def __init__(self, url: str, pipeline: Pipeline) -> None:
        self.url = url
        self.pipeline = pipeline

    def register(self) -> None:
        """Make the embedding space, as the first batch that is prepared does."""
        pipeline = self.pipeline
        SpaceRegistry().of(pipeline.connection, pipeline.spec.model, pipeline.spec.prefix)

    def index(self) -> float:
        """Build what is missing, until all closed chunks are in their index; returns seconds."""
        began = time.perf_counter()
        build_missing(self.url)
        # A storer brings closed chunks into their index in turns, and looks after the other indexes between two.
        while history_waits is not None and history_waits(self.pipeline.connection):
            build_missing(self.url)
        return time.perf_counter() - began

    def ingest(self, documents: dict[str, str], version: int) -> dict[str, float]:
        """Carry documents through all steps as one batch; returns seconds, and how many texts were embedded."""
        pipeline = self.pipeline
        events = [make_event(name, version, text) for name, text in documents.items()]
        began = time.perf_counter()
        ref = pipeline.stage(pipeline.records(events))
        number = pipeline.number()
        prepared = pipeline.prepare([ref], number)
        embedded = pipeline.embed(prepared)
        ready = time.perf_counter()
        pipeline.publish([ref], prepared, number)
        ended = time.perf_counter()
        return {"all": ended - began, "publish": ended - ready, "embedded": embedded}


def main() -> None:
    """Answer each command with one line."""
    url = sys.argv[1]
    migrate(url)
    with (
        tempfile.TemporaryDirectory() as folder,
        Pipeline(url, Path(folder), source="published") as pipeline,
    ):
        driver = Driver(url, pipeline)
        for line in sys.stdin:
            command: dict[str, Any] = json.loads(line)
            answer = getattr(driver, command.pop("do"))(**command)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
