"""A stack whose embedder makes vectors of hashes: for what is about everything but the model."""

import subprocess
import sys
import threading

from tests.bench.stack import ROOT, Stack

WITHOUT_EMBEDDER = ("consumer", "orchestrator", "preparer", "storer")
_RESTART_SECONDS = 0.5


class LightStack(Stack):
    """As `Stack`, without gateway; its embedder is started again when it ends."""

    def __enter__(self) -> "LightStack":
        only = [word for part in WITHOUT_EMBEDDER for word in ("--only", part)]
        self._up(*only)
        self._leaving = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep_embedder, daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._keeper.join()
        super().__exit__()

    def _keep_embedder(self) -> None:
        command = [sys.executable, "-m", "tests.support.light_embedder"]
        with (self.home / "logs" / "embedder.log").open("ab") as log:
            while not self._leaving.is_set():
                self._process = subprocess.Popen(
                    command, cwd=ROOT, env=self.environment, stdout=log, stderr=log
                )
                while self._process.poll() is None and not self._leaving.wait(_RESTART_SECONDS):
                    pass
                self._process.kill()
                self._process.wait()

    def kill(self, part: str) -> bool:
        """kill -9, of the embedder, too."""
        if part != "embedder":
            return super().kill(part)
        if self._process is None:
            return False
        self._process.kill()
        return True

    def pid(self, part: str) -> int | None:
        """Process of a part, of the embedder, too."""
        if part != "embedder":
            return super().pid(part)
        return self._process.pid if self._process else None
