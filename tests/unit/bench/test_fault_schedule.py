"""The schedule of the fault driver: repeatable, within its bounds, with all kinds in it."""

from tests.bench.faults.schedule import (
    AT_ONCE,
    DELAY_SECONDS,
    FROZEN_SECONDS,
    MAX_TOGETHER,
    OF_PROXIES,
    ROLES,
    SERVERS,
    Fault,
    Kind,
    draw,
    length,
)

SEED = 20261126


def faults(count: int, seed: int = SEED) -> list[Fault]:
    return [fault for burst in draw(seed, count) for fault in burst]


def test_a_seed_gives_the_same_schedule_again_and_another_seed_another_one() -> None:
    assert draw(SEED, 100) == draw(SEED, 100)
    assert draw(SEED, 100) != draw(SEED + 1, 100)


def test_a_schedule_has_as_many_faults_as_it_was_asked_for() -> None:
    for count in range(1, 30):
        assert [fault.number for fault in faults(count)] == list(range(1, count + 1))


def test_a_hundred_faults_have_every_kind_and_every_target() -> None:
    drawn = faults(100)
    assert {fault.kind for fault in drawn} == set(Kind)
    assert {fault.target for fault in drawn} == {*ROLES, *SERVERS}
    assert any(fault.swallows for fault in drawn)
    hit = {fault.kind for fault in drawn if fault.in_transaction}
    assert hit == {Kind.KILL, Kind.FREEZE, Kind.RESTART}
    assert {fault.target for fault in drawn if fault.in_transaction} <= set(ROLES)


def test_faults_of_a_burst_overlap_and_never_share_a_target() -> None:
    bursts = draw(SEED, 200)
    assert {len(burst) for burst in bursts} == set(range(1, MAX_TOGETHER + 1))
    for burst in bursts:
        targets = [(fault.kind in OF_PROXIES, fault.target) for fault in burst]
        assert len(set(targets)) == len(targets)
        assert length(burst) >= max(fault.seconds + fault.overlap for fault in burst)


def test_every_fault_is_within_its_bounds() -> None:
    for fault in faults(300):
        assert fault.seconds <= FROZEN_SECONDS[1]
        assert (fault.seconds == 0) == (fault.kind in AT_ONCE)
        if fault.kind in OF_PROXIES:
            assert fault.target in SERVERS
        if fault.kind is Kind.JOIN:
            assert fault.target in ROLES
        if fault.kind is Kind.DELAY:
            assert DELAY_SECONDS[0] <= fault.low <= fault.high <= DELAY_SECONDS[1]
        assert bool(fault.overlap) == (fault.kind is Kind.FREEZE and fault.target in ROLES)


def test_a_short_run_has_short_faults() -> None:
    drawn = [fault for burst in draw(SEED, 100, most_seconds=2.0) for fault in burst]
    assert max(fault.seconds for fault in drawn) <= 2.0
