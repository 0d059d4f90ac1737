"""What origins said, in words and numbers."""

from freshness.policy import FreshnessStatus, Verdict
from freshness.revalidation import Revalidation, counted, problem_of


def test_a_problem_names_the_most_frequent_reasons() -> None:
    assert problem_of(0, ["a"]) == ""
    assert problem_of(9, ["a (h)", "b", "c", "d"]).endswith(
        "9 documents are overdue and could not be asked for at their origin: a (h); b; c"
    )


def test_what_a_person_has_to_decide_is_said_apart() -> None:
    both = problem_of(3, ["slow (h)"], 1, ["answers 403 (i)"])
    first, second = both.split("; 1 documents", 1)
    assert first.startswith("2 documents are overdue and could not be asked for")
    assert first.endswith(": slow (h)")
    assert " are refused when they are asked for" in second
    assert "answers 403 (i); allow it" in second
    assert problem_of(1, [], 1, ["answers 403 (i)"]).startswith(
        "1 documents are overdue and are refused"
    )


def test_problems_add_up() -> None:
    asked = Revalidation(asked=2).failed("no answer").failed("no Kafka")
    assert (asked.asked, asked.problem) == (2, "no answer; no Kafka")


def test_nothing_is_reported_where_nothing_was_to_be_asked() -> None:
    assert counted(None, unaskable=0, kept=3) is None
    assert counted(None, unaskable=1, kept=0) == Revalidation(unaskable=1)
    asked = Revalidation(asked=4, renewed=4)
    assert counted(asked, unaskable=1, kept=2) == Revalidation(
        asked=4, renewed=4, unaskable=1, kept=2
    )


def test_a_warning_makes_nothing_better() -> None:
    for before, after in {
        FreshnessStatus.PASS: FreshnessStatus.WARN,
        FreshnessStatus.WARN: FreshnessStatus.WARN,
        FreshnessStatus.ERROR: FreshnessStatus.ERROR,
    }.items():
        assert Verdict(before, ("a",)).with_warning("b") == Verdict(after, ("a", "b"))
