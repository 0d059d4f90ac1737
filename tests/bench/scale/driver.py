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
from tests.support.pipeline import Pipeline, make_event


class Driver:
    """One database."""

    def __init__(self, url: str, pipeline: Pipeline) -> None:
        self.url = url
        self.pipeline = pipeline
        self._published = 0

    def register(self) -> None:
        """Make the embedding space, as the first batch that is prepared does."""
        event = make_event("registers", 1, "The first document registers the space.")
        self.pipeline.prepare([self.pipeline.stage(self.pipeline.records([event]))], 1)

    def index(self) -> float:
        """Build what is missing; returns seconds."""
        began = time.perf_counter()
        build_missing(self.url)
        return time.perf_counter() - began

    def publish(self, texts: list[str]) -> float:
        """Publish a document for each text; returns the seconds of the publishing step."""
        pipeline = self.pipeline
        events = []
        for text in texts:
            self._published += 1
            events.append(make_event(f"new{self._published}", 1, text))
        ref = pipeline.stage(pipeline.records(events))
        number = pipeline.number()
        prepared = pipeline.prepare([ref], number)
        pipeline.embed(prepared)
        began = time.perf_counter()
        pipeline.publish([ref], prepared, number)
        return time.perf_counter() - began


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
