"""What cleaning dropped: counts and samples."""

from corpus.clean.account import AccountBuilder, DropRule, visible_length


def test_kept_and_dropped_add_up() -> None:
    builder = AccountBuilder()
    builder.drop(DropRule.HIDDEN, " ab c\n")
    builder.drop(DropRule.NAVIGATION, "Home")
    builder.drop(DropRule.HIDDEN, "d")
    account = builder.finish(kept=10)
    assert account.dropped == ((DropRule.NAVIGATION, 4), (DropRule.HIDDEN, 4))
    assert account.received == 18
    assert [piece.sample for piece in account.pieces] == ["ab c", "Home", "d"]


def test_white_space_is_nothing() -> None:
    builder = AccountBuilder()
    builder.drop(DropRule.HIDDEN, " \n\t ")
    assert builder.finish(kept=0).dropped == ()


def test_samples_and_pieces_are_bounded_and_counts_are_not() -> None:
    builder = AccountBuilder()
    for _ in range(1_500):
        builder.drop(DropRule.MACHINE, "x" * 300)
    account = builder.finish(kept=0)
    assert len(account.pieces) == 1_000
    assert {len(piece.sample) for piece in account.pieces} == {200}
    assert account.received == 1_500 * 300


def test_visible_length_counts_characters_of_any_script() -> None:
    assert visible_length("水 门\u3000a") == 3
