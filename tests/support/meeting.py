"""What a process of an installation does before it works, for tests in which two of them meet."""

from pathlib import Path

from corpus.installation.identity import Installation
from tests.support.fix_installation import Place
from workers.roles import start
from workers.temporal.client import temporal

CONFIG = '[source.{0}]\ntopics = ["{0}"]\npartitions = 1\n'


async def check(place: Place, role: str = "storer") -> Installation:
    """What a role does before it works."""
    settings = place.load()
    client = await temporal(settings)
    return await start.check_role(settings, role, client)


def file_with(folder: Path, *sources: str) -> str:
    path = folder / f"{'-'.join(sources)}.toml"
    path.write_text("".join(CONFIG.format(name) for name in sources), encoding="utf-8")
    return str(path)
