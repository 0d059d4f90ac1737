"""A clock that stands where a test puts it."""


class Clock:
    """Gives seconds, as `time.monotonic` does.

    Attributes:
        now: what it gives.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
