"""Which faults come when: drawn from a seed, the same for the same seed and count on every machine."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

SERVERS = ("postgres", "kafka", "temporal")
ROLES = ("consumer", "orchestrator", "preparer", "embedder", "storer")

MAX_TOGETHER = 4  # faults of a burst
PAUSE_SECONDS = (0.5, 8.0)  # from the start of a fault to that of the next one in its burst
FROZEN_SECONDS = (1.0, 90.0)
PROXY_SECONDS = (3.0, 45.0)
DELAY_SECONDS = (0.1, 20.0)  # of one reply
IN_TRANSACTION_CHANCE = 0.7  # that a role is hit while it has a transaction open
CUT_CHANCE = (0.1, 0.6)  # that a reply is cut
OVERLAP_SECONDS = (1.0, 10.0)  # a woken process beside its replacement


class Kind(StrEnum):
    """What is done to its target."""

    KILL = "kill -9"
    FREEZE = "freeze"  # SIGSTOP of all its processes, then SIGCONT; a role is replaced meanwhile
    DELAY = "delay"  # of a server's replies
    CUT = "cut"  # a server's connections, in the middle of a reply
    BLACK_HOLE = "black hole"  # a server's requests arrive or not, its replies never do
    RESTART = "restart"  # its target is asked to end, by its own signal
    JOIN = "second process"  # of a role: it joins, works beside the first one, and leaves
    GROW = "one more partition"  # of the topic


OF_PROXIES = (Kind.DELAY, Kind.CUT, Kind.BLACK_HOLE)
_ARMED = (Kind.KILL, Kind.FREEZE, Kind.RESTART)
AT_ONCE = (Kind.KILL, Kind.RESTART, Kind.GROW)  # they last as long as they take
_WEIGHTS = {
    Kind.KILL: 5,
    Kind.FREEZE: 7,
    Kind.DELAY: 4,
    Kind.CUT: 2,
    Kind.BLACK_HOLE: 3,
    Kind.RESTART: 3,
    Kind.JOIN: 2,
    Kind.GROW: 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        number: from 1 on, in the order in which they begin.
        kind: what is done.
        target: a part of the stack; the server behind the proxy for the kinds of proxies.
        after: seconds from the beginning of the fault before it in its burst, or of the burst.
        seconds: how long it lasts; 0 for what is done at once.
        low: of a delay, the least seconds of a reply; of a cut, its chance; else 0.
        high: of a delay, the most seconds of a reply; else 0.
        overlap: seconds that a frozen role's replacement stays when the role is awake again; else 0.
        swallows: a black hole swallows the requests as well.
        in_transaction: a role is killed or frozen when it has a transaction open, if it soon has one.
    """

    number: int
    kind: Kind
    target: str
    after: float
    seconds: float = 0.0
    low: float = 0.0
    high: float = 0.0
    overlap: float = 0.0
    swallows: bool = False
    in_transaction: bool = False

    @property
    def name(self) -> str:
        """In a few words."""
        match self.kind:
            case Kind.KILL | Kind.RESTART | Kind.GROW:
                return f"{self.kind} {self.target}"
            case Kind.DELAY:
                size = f"{self.low:.1f} to {self.high:.1f} s"
                return f"{self.kind} {self.target} by {size}, for {self.seconds:.0f} s"
            case Kind.CUT:
                return f"{self.kind} {self.low:.0%} of {self.target}, for {self.seconds:.0f} s"
            case Kind.BLACK_HOLE:
                lost = "requests and replies" if self.swallows else "replies"
                return f"{self.kind} for {lost} of {self.target}, for {self.seconds:.0f} s"
            case Kind.JOIN:
                return f"{self.kind} of {self.target} for {self.seconds:.0f} s"
            case _:
                return f"{self.kind} {self.target} for {self.seconds:.0f} s"


Burst = tuple[Fault, ...]


def draw(seed: int, count: int, *, most_seconds: float = FROZEN_SECONDS[1]) -> list[Burst]:
    """Draw `count` faults in bursts of faults that overlap; no two of a burst have the same target.

    Args:
        seed: of all that is drawn.
        count: of faults.
        most_seconds: the longest that one may last.
    """
    rng = random.Random(seed)
    bursts: list[Burst] = []
    number = 1
    while number <= count:
        together = min(rng.randint(1, MAX_TOGETHER), count - number + 1)
        targets: set[tuple[bool, str]] = set()
        burst: list[Fault] = []
        while len(burst) < together:
            fault = _fault(rng, number, most_seconds)
            target = (fault.kind in OF_PROXIES, fault.target)
            if target not in targets:
                targets.add(target)
                burst.append(fault)
                number += 1
        bursts.append(tuple(burst))
    return bursts


def length(burst: Burst) -> float:
    """Seconds from the beginning of a burst to the end of its last fault."""
    begin = end = 0.0
    for fault in burst:
        begin += fault.after
        end = max(end, begin + fault.seconds + fault.overlap)
    return end


def _fault(rng: random.Random, number: int, most_seconds: float) -> Fault:
    [kind] = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    after = rng.uniform(*PAUSE_SECONDS)
    target = rng.choice(_targets(kind))
    armed = kind in _ARMED and target in ROLES and rng.random() < IN_TRANSACTION_CHANCE
    fault = Fault(number=number, kind=kind, target=target, after=after, in_transaction=armed)
    if kind in AT_ONCE:
        return fault
    low, high = PROXY_SECONDS if kind in OF_PROXIES else FROZEN_SECONDS
    seconds = rng.uniform(min(low, most_seconds), min(high, most_seconds))
    return replace(fault, seconds=seconds, **_details(rng, kind, target))


def _targets(kind: Kind) -> tuple[str, ...]:
    if kind in OF_PROXIES:
        return SERVERS
    if kind is Kind.JOIN:
        return ROLES
    if kind is Kind.GROW:
        return ("kafka",)
    return (*ROLES, *SERVERS)


def _details(rng: random.Random, kind: Kind, target: str) -> dict[str, Any]:
    """What a kind needs besides."""
    match kind:
        case Kind.DELAY:
            # Small delays as often as large ones: each size meets other timeouts.
            low = DELAY_SECONDS[0] * (DELAY_SECONDS[1] / DELAY_SECONDS[0]) ** rng.random()
            return {"low": low, "high": rng.uniform(low, DELAY_SECONDS[1])}
        case Kind.CUT:
            return {"low": rng.uniform(*CUT_CHANCE)}
        case Kind.BLACK_HOLE:
            return {"swallows": rng.random() < 0.5}
        case Kind.JOIN:
            return {}
        case _ if target in ROLES:
            return {"overlap": rng.uniform(*OVERLAP_SECONDS)}
        case _:
            return {}
