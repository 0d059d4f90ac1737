"""What a file may be at most, and what is read of it."""

from dataclasses import dataclass

from corpus.clean.files.kinds import FileRefusedError
from corpus.dead_letter import DeadLetterReason
from corpus.preparation import OFF


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Limits of one file, with the files that are in it."""

    max_pages: int
    """Pages, slides or sheets."""
    max_unpacked_bytes: int
    """Of the parts of an archive, together."""
    max_nesting: int
    """Of elements of HTML."""
    ocr: str = OFF
    """Language in which the text of pictures is recognised."""

    def check_pages(self, count: int, name: str) -> None:
        """Check how many pages there are.

        Raises:
            FileRefusedError: too many.
        """
        if count > self.max_pages:
            raise FileRefusedError(
                DeadLetterReason.TOO_LARGE,
                f"the file has {count:,} {name}, more than max_pages = {self.max_pages:,}",
            )
