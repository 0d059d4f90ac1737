"""A gauge with a value for each of some keys that come and go."""

from collections.abc import Mapping, Set

from temporalio.common import MetricGauge, MetricGaugeFloat


class KeyedGauge:
    """An exporter goes on with the last value of a key that is gone, so that becomes 0.

    Args:
        gauge: shows the values.
        labels: names of the parts of a key.
    """

    def __init__(self, gauge: MetricGauge | MetricGaugeFloat, *labels: str) -> None:
        self._gauge = gauge
        self._labels = labels
        self._shown: Set[tuple[str, ...]] = frozenset()

    def show(self, values: Mapping[tuple[str, ...], int]) -> None:
        """Show these keys, and no other one any more."""
        for gone in self._shown - values.keys():
            self._set(gone, 0)
        for key, value in values.items():
            self._set(key, value)
        self._shown = frozenset(values)

    def _set(self, key: tuple[str, ...], value: int) -> None:
        attributes = dict(zip(self._labels, key, strict=True))
        self._gauge.set(value, attributes)
