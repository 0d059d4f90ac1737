"""A meter of metrics that can be asked."""

from collections import Counter
from typing import Any

Key = tuple[str, tuple[tuple[str, str], ...]]


class FakeMeter:
    """Remembers what its instruments were given."""

    def __init__(self) -> None:
        self.values: Counter[Key] = Counter()

    def create_counter(self, name: str, *_: Any) -> Any:
        return FakeInstrument(self, name)

    create_gauge = create_gauge_float = create_histogram_float = create_counter

    def value(self, name: str, **attributes: str) -> Any:
        return self.values[name, tuple(sorted(attributes.items()))]


class FakeInstrument:
    def __init__(self, meter: FakeMeter, name: str) -> None:
        self.meter = meter
        self.name = name

    def add(self, value: int, attributes: dict[str, str]) -> None:
        self.meter.values[self._key(attributes)] += value

    record = add

    def set(self, value: int, attributes: dict[str, str] | None = None) -> None:
        self.meter.values[self._key(attributes)] = value

    def _key(self, attributes: dict[str, str] | None) -> Key:
        return self.name, tuple(sorted((attributes or {}).items()))
