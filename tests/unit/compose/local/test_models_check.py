"""The check of the models: pinned, changed under one name, or all is well."""

from dataclasses import replace

import pytest

from compose.local.checks import CheckFailedError
from compose.local.models_check import SourceModel, UsedWeights, judge_models
from corpus.embed.spec import EmbeddingSpec

SPEC = EmbeddingSpec(
    model="team/model",
    weights="b" * 40,
    pooling="mean",
    prefix="",
    dimensions=4,
    normalised=True,
    token_limit=8,
)
MODEL = SourceModel(source="peps", spec=SPEC, is_pinned=True)
USED = UsedWeights(model="team/model", prefix="", context="none", weights="b" * 40)


def test_weights_that_made_the_vectors_are_right() -> None:
    assert (
        judge_models([MODEL, replace(MODEL, source="other")], [USED]) == "team/model bbbbbbbbbbbb"
    )
    assert judge_models([MODEL], []) == "team/model bbbbbbbbbbbb"
    assert judge_models([], [USED]) == "no source yet"


@pytest.mark.parametrize("field", ["model", "prefix", "context"])
def test_another_name_is_another_space(field: str) -> None:
    other = replace(USED, weights="a" * 40, **{field: "another"})
    assert judge_models([MODEL], [other])


def test_other_weights_under_one_name_are_noticed() -> None:
    with pytest.raises(CheckFailedError, match=r"peps: team/model .*bbbbbbbbbbbb; .*aaaaaaaaaaaa,"):
        judge_models([MODEL], [USED, replace(USED, weights="a" * 40)])


def test_a_model_without_a_revision_is_a_warning_that_names_the_setting() -> None:
    said = judge_models([replace(MODEL, is_pinned=False)], [USED])
    assert said.startswith("warning: ")
    assert f'peps: model = "team/model@{"b" * 40}"' in said
