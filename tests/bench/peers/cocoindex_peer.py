"""A pipeline of CocoIndex: files of a folder, chunks, vectors, rows in PostgreSQL with an HNSW index.

It runs in an environment of its own and imports nothing of Freshet. Each line of input has it bring the rows up to
date; it answers with seconds, and how many texts were embedded.
"""

import hashlib
import json
import os
import pathlib
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import asyncpg
import cocoindex as coco
import numpy as np
from cocoindex.connectors import localfs, postgres
from cocoindex.ops.text import RecursiveSplitter
from cocoindex.resources.chunk import Chunk
from cocoindex.resources.file import FileLike, PatternFilePathMatcher
from cocoindex.resources.id import IdGenerator
from cocoindex.resources.schema import VectorSchema
from numpy.typing import NDArray

DIMENSIONS = 384
CHARACTERS_OF_CHUNK = 1_000  # as many as Freshet's chunks of 256 tokens have
_DATABASE = coco.ContextKey[asyncpg.Pool]("database")
_splitter = RecursiveSplitter()
_embedded = 0


@coco.fn(memo=True)
async def embed(text: str) -> NDArray[np.float32]:
    """A vector that costs nothing: what is measured is the pipeline.

    It keeps its answers, as CocoIndex's own embedder does.
    """
    global _embedded
    _embedded += 1
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS, np.float32)
    return vector / np.linalg.norm(vector)


@coco.lifespan
async def _provide(builder: coco.EnvironmentBuilder) -> AsyncIterator[None]:
    builder.settings.db_path = pathlib.Path(sys.argv[2])
    async with asyncpg.create_pool(sys.argv[1]) as pool:
        builder.provide(_DATABASE, pool)
        yield


@dataclass
class Piece:
    """A row of the table."""

    id: int
    filename: str
    start: int
    text: str
    embedding: Annotated[NDArray[np.float32], VectorSchema(np.dtype(np.float32), DIMENSIONS)]


@coco.fn
async def _index_chunk(
    chunk: Chunk,
    filename: pathlib.PurePath,
    ids: IdGenerator,
    table: postgres.TableTarget[Piece],
) -> None:
    table.declare_row(
        row=Piece(
            id=await ids.next_id(chunk.text),
            filename=str(filename),
            start=chunk.start.char_offset,
            text=chunk.text,
            embedding=await embed(chunk.text),
        )
    )


@coco.fn(memo=True)
async def _index_file(file: FileLike, table: postgres.TableTarget[Piece]) -> None:
    text = await file.read_text()
    chunks = _splitter.split(text, chunk_size=CHARACTERS_OF_CHUNK, language="markdown")
    await coco.map(_index_chunk, chunks, file.file_path.path, IdGenerator(), table)


@coco.fn
async def _index_folder(folder: pathlib.Path) -> None:
    table = await postgres.mount_table_target(
        _DATABASE,
        table_name="piece",
        table_schema=await postgres.TableSchema.from_class(Piece, primary_key=["id"]),
    )
    table.declare_vector_index(column="embedding", metric="cosine", method="hnsw")
    matcher = PatternFilePathMatcher(included_patterns=["**/*.txt"])
    files = localfs.walk_dir(folder, recursive=True, path_matcher=matcher)
    await coco.mount_each(_index_file, files.items(), table)


def main() -> None:
    """Update once per line."""
    global _embedded
    app = coco.App(coco.AppConfig(name="peer"), _index_folder, folder=pathlib.Path(sys.argv[3]))
    for _ in sys.stdin:
        _embedded = 0
        began = time.perf_counter()
        app.update_blocking()
        answer = {"seconds": time.perf_counter() - began, "texts embedded": _embedded}
        os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
