"""How many steps the check of a value takes, and whether that is known before."""

from typing import Any, cast

from ingest.decode.registry.framing import unusable

# Rules of a schema at most, references followed: a short schema can refer to others in 2^40 ways.
MAX_STEPS = 100_000
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NAMES = ("$id", "id", "$anchor")
# How often a check follows them depends on the value, or on the library.
_UNCOUNTED = frozenset(
    {
        "$dynamicRef",
        "$dynamicAnchor",
        "$recursiveRef",
        "$recursiveAnchor",
        "unevaluatedProperties",
        "unevaluatedItems",
        "discriminator",
    }
)
_CHEAP_FORMATS = frozenset(
    {"date", "date-time", "time", "email", "uri", "uuid", "ipv4", "ipv6", "hostname"}
)


class Steps:
    """Counts the rules of a schema, with each reference as the rules that it stands for; a cycle counts once.

    Args:
        root: the schema.
        referenced: schemas that it refers to.

    Attributes:
        is_bounded: whether no value takes more steps than `rules` for each value in it.
        rules: of the schema.
        patterns: regular expressions among them.

    Raises:
        FieldError: they are too many.
    """

    def __init__(
        self,
        root: Any,
        referenced: list[Any],
    ) -> None:
        self.is_bounded = not referenced
        self.patterns = 0
        self._by_pointer: dict[str, Any] = {}
        self._counted: dict[str, int] = {}
        self._open: set[str] = set()
        for schema in (root, *referenced):
            self._index(schema, "#")
        self.rules = self._count(root)

    def _index(
        self,
        part: Any,
        pointer: str,
    ) -> None:
        if isinstance(part, list):
            for number, each in enumerate(cast("list[Any]", part)):
                self._index(each, f"{pointer}/{number}")
            return
        if not isinstance(part, dict):
            return
        rules = cast("dict[str, Any]", part)
        self._by_pointer[pointer] = rules
        for name in _NAMES:
            named = rules.get(name)
            if isinstance(named, str):
                self._by_pointer[named] = rules
                self._by_pointer[f"#{named}"] = rules
                self.is_bounded &= pointer == "#"
        for name, each in rules.items():
            # In a pointer these are written in another way.
            self.is_bounded &= not any(mark in name for mark in "/~%")
            self._index(each, f"{pointer}/{name}")

    def _count(
        self,
        part: Any,
    ) -> int:
        steps = 1
        if isinstance(part, list):
            steps += sum(self._count(each) for each in cast("list[Any]", part))
        elif isinstance(part, dict):
            rules = cast("dict[str, Any]", part)
            self._look_at(rules)
            steps += sum(self._count(each) for each in rules.values())
            for name in _REFERENCES:
                target = rules.get(name)
                if isinstance(target, str):
                    steps += self._of_reference(target)
        if steps > MAX_STEPS:
            raise unusable(
                f"to check a value by it takes more than {MAX_STEPS:,} steps"
            )
        return steps

    def _look_at(
        self,
        rules: dict[str, Any],
    ) -> None:
        format_name = rules.get("format")
        is_cheap = not isinstance(format_name, str) or format_name in _CHEAP_FORMATS
        self.is_bounded &= is_cheap and _UNCOUNTED.isdisjoint(rules)
        self.patterns += isinstance(rules.get("pattern"), str)
        by_pattern = rules.get("patternProperties")
        if isinstance(by_pattern, dict):
            self.patterns += len(cast("dict[str, Any]", by_pattern))

    def _of_reference(
        self,
        target: str,
    ) -> int:
        counted = self._counted.get(target)
        if counted is not None:
            return counted
        part = self._by_pointer.get(target)
        if part is None:
            part = self._by_pointer.get(f"#{target.partition('#')[2]}")
        if part is None or target in self._open or not target.startswith("#"):
            self.is_bounded = False
        if part is None or target in self._open:
            return 1
        self._open.add(target)
        steps = self._count(part)
        self._open.discard(target)
        self._counted[target] = steps
        return steps
