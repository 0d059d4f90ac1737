"""The way of pairs into a reranking model and of numbers out of it; and which models are none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corpus.embed.cross_encoder import CrossEncoderReranker
from corpus.errors import ConfigurationError, DependencyError
from tests.support.cross_encoders import BUNDLED, make_cross_encoder

pytest.importorskip("torch")

QUERY = "When does the river rise?"
# Of every length, the longest beyond what the model reads.
PASSAGES = [
    " ".join(f"word{place}" for place in range(count)) for count in (0, 3, 90, 1, 400, 7) * 5
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


def test_scores_are_those_of_sentence_transformers_in_the_order_of_the_passages(
    folder: Path,
) -> None:
    from sentence_transformers import CrossEncoder

    expected = CrossEncoder(str(folder), device="cpu").predict([(QUERY, text) for text in PASSAGES])
    scores = CrossEncoderReranker(str(folder), device="cpu").scores(QUERY, PASSAGES)
    assert scores == pytest.approx(list(expected), abs=1e-5)
    assert len({round(score, 3) for score in scores}) > 4


def test_nothing_has_no_scores(folder: Path) -> None:
    assert CrossEncoderReranker(str(folder), device="cpu").scores(QUERY, []) == []


def test_threads_share_a_model(folder: Path) -> None:
    reranker = CrossEncoderReranker(str(folder), device="cpu", threads=2)
    expected = reranker.scores(QUERY, PASSAGES)
    with ThreadPoolExecutor(4) as threads:
        both = list(threads.map(lambda _: reranker.scores(QUERY, PASSAGES), range(12)))
    for scores in both:
        assert scores == pytest.approx(expected, abs=1e-5)


def test_a_model_that_gives_several_numbers_is_refused(tmp_path: Path) -> None:
    folder = make_cross_encoder(tmp_path / "nli", labels=3)
    with pytest.raises(ConfigurationError, match="gives 3 numbers per passage"):
        CrossEncoderReranker(str(folder), device="cpu")


def test_a_model_of_embeddings_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is no cross-encoder but "):
        CrossEncoderReranker(BUNDLED, device="cpu")


def test_a_model_without_its_head_would_order_by_chance_and_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_cross_encoder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    kept = {name: one for name, one in weights.items() if not name.startswith("classifier")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match="has no trained head"):
        CrossEncoderReranker(str(folder), device="cpu")


def test_a_name_without_an_organisation_is_refused_before_a_hub_is_asked() -> None:
    with pytest.raises(ConfigurationError, match="with its organisation"):
        CrossEncoderReranker("ms-marco-MiniLM-L6-v2", device="cpu")


def test_weights_that_break_off_are_named(tmp_path: Path) -> None:
    folder = make_cross_encoder(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5_000])
    with pytest.raises(ConfigurationError, match="cannot be loaded on device 'cpu'"):
        CrossEncoderReranker(str(folder), device="cpu")


def test_the_prompt_that_a_model_names_is_put_before_its_queries(
    folder: Path, tmp_path: Path
) -> None:
    from sentence_transformers import CrossEncoder

    saved = CrossEncoder(
        str(folder), device="cpu", prompts={"ask": "Which text says: "}, default_prompt_name="ask"
    )
    saved.save_pretrained(str(tmp_path))
    expected = saved.predict([(QUERY, text) for text in PASSAGES])
    scores = CrossEncoderReranker(str(tmp_path), device="cpu").scores(QUERY, PASSAGES)
    assert scores == pytest.approx(list(expected), abs=1e-5)
    assert scores != CrossEncoderReranker(str(folder), device="cpu").scores(QUERY, PASSAGES)


def test_passes_end_for_a_caller_who_is_gone(folder: Path) -> None:
    reranker = CrossEncoderReranker(str(folder), device="cpu")
    looks: list[int] = []

    def go_on() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise DependencyError("nobody waits")

    with pytest.raises(DependencyError, match="nobody waits"):
        reranker.scores(QUERY, PASSAGES * 20, go_on)
    assert len(looks) == 3


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder"):
        CrossEncoderReranker(str(tmp_path / "gone"), device="cpu")


def test_a_folder_without_weights_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ConfigurationError, match="cannot be loaded on device 'cpu'"):
        CrossEncoderReranker(str(tmp_path), device="cpu")
