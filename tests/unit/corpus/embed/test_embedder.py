"""The way of token ids into a model and of vectors out of it; the model itself is a stand-in with one weight."""

import importlib.util
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from corpus.embed import embedder as embedder_module
from corpus.embed.embedder import SentenceTransformerEmbedder
from corpus.errors import ConfigurationError

torch = pytest.importorskip("torch")

MODEL = "all-MiniLM-L6-v2"
CLS, SEP, PAD = 101, 102, 7


class StandIn:
    """Its vector of a text is (sum of ids, number of tokens, 1) at unit length, times `length`."""

    def __init__(self, *, length: float = 1.0, bf16_error: float = 0.0) -> None:
        self.device = torch.device("cpu")
        self.tokenizer = SimpleNamespace(pad_token_id=PAD)
        self.batches: list[np.ndarray[Any, Any]] = []
        self.masks: list[np.ndarray[Any, Any]] = []
        self.precision = "fp32"
        self._length = length
        self._bf16_error = bf16_error

    def get_embedding_dimension(self) -> int:
        return 3

    def bfloat16(self) -> None:
        self.precision = "bf16"

    def float(self) -> None:
        self.precision = "fp32"

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        ids, mask = features["input_ids"], features["attention_mask"]
        self.batches.append(ids.numpy())
        self.masks.append(mask.numpy())
        total = (ids * mask).sum(1).float() / 10_000
        vectors = torch.stack([total, mask.sum(1).float(), torch.ones(len(ids))], 1)
        if self.precision == "bf16":
            vectors[:, 0] += self._bf16_error
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
        return {"sentence_embedding": vectors * self._length}

    def encode_query(self, text: str, **_options: Any) -> Any:
        return torch.tensor([float(len(text)), 0.0, 0.0])


Make = Callable[..., tuple[SentenceTransformerEmbedder, StandIn]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make an embedder whose model is the given stand-in."""

    def made(
        model: StandIn | None = None, *, bf16_units: bool = False, **settings: Any
    ) -> tuple[SentenceTransformerEmbedder, StandIn]:
        stand_in = model or StandIn()
        monkeypatch.setattr(embedder_module, "_load", lambda *_: stand_in)
        monkeypatch.setattr(embedder_module, "_has_bf16_units", lambda _device: bf16_units)
        return SentenceTransformerEmbedder(MODEL, **settings), stand_in

    return made


def test_vectors_are_in_the_order_given_whatever_the_lengths(make: Make) -> None:
    embedder, _ = make(batch=2)
    texts = [[5] * length for length in (3, 1, 9, 4, 2, 9, 1)]
    vectors = embedder.embed_tokens(texts)
    assert vectors.shape == (7, 3)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(vector, embedder.embed_tokens([text])[0])


def test_texts_of_a_batch_are_alike_and_padding_is_masked(make: Make) -> None:
    embedder, model = make(batch=2, threads=1)
    embedder.embed_tokens([[1], [2, 2, 2], [3, 3], [4]])
    assert [batch.tolist() for batch in model.batches] == [
        [[CLS, 2, 2, 2, SEP], [CLS, 3, 3, SEP, PAD]],
        [[CLS, 1, SEP], [CLS, 4, SEP]],
    ]
    assert model.masks[0].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]


def test_no_text_has_no_vectors(make: Make) -> None:
    embedder, model = make()
    assert embedder.embed_tokens([]).shape == (0, 3)
    assert model.batches == []


def test_a_text_without_tokens_has_a_vector(make: Make) -> None:
    embedder, model = make()
    assert embedder.embed_tokens([[]]).shape == (1, 3)
    assert model.batches[0].tolist() == [[CLS, SEP]]


def test_the_prefix_is_before_every_text(make: Make) -> None:
    embedder, model = make(prefix="query: ")
    embedder.embed_tokens([[9]])
    (row,) = model.batches[0].tolist()
    assert row[0] == CLS
    assert row[-2:] == [9, SEP]
    assert len(row) > 4


def test_a_query_has_one_vector(make: Make) -> None:
    embedder, _ = make()
    assert embedder.embed_query("weir").tolist() == [4.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("length", "kept"),
    [(1.0, 1.0), (1.004, 1.0), (0.99, 1.0), (1.5, 1.5), (0.5, 0.5), (0.0, 0.0)],
)
def test_only_a_vector_that_was_nearly_at_unit_length_is_put_there(
    make: Make, length: float, kept: float
) -> None:
    embedder, _ = make(StandIn(length=length))
    (vector,) = embedder.embed_tokens([[1, 2]])
    assert np.linalg.norm(vector) == pytest.approx(kept, abs=1e-6)


@pytest.mark.parametrize(
    ("wanted", "bf16_units", "error", "precision"),
    [
        ("auto", False, 0.0, "fp32"),
        ("auto", True, 0.0, "bf16"),
        ("auto", True, 2.0, "fp32"),  # its vectors point elsewhere
        ("fp32", True, 0.0, "fp32"),
        ("bf16", False, 0.0, "bf16"),
    ],
)
def test_precision(make: Make, wanted: str, bf16_units: bool, error: float, precision: str) -> None:
    embedder, model = make(StandIn(bf16_error=error), bf16_units=bf16_units, precision=wanted)
    assert (embedder.precision, model.precision) == (precision, precision)


def test_bf16_that_was_asked_for_and_differs_is_an_error(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="use fp32 or auto"):
        make(StandIn(bf16_error=2.0), precision="bf16")


def test_other_backends_have_a_precision_of_their_own(make: Make) -> None:
    embedder, _ = make(bf16_units=True, backend="onnx")
    assert embedder.precision == "fp32"


class Graph(StandIn):
    """A model as another backend exported it, `error` beside what its weights say."""

    def __init__(self, error: float) -> None:
        super().__init__(bf16_error=error)
        self.precision = "bf16"


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Callable[[Graph], SentenceTransformerEmbedder]:
    """Make an embedder of a graph, whose weights torch reads as they are."""

    def made(graph: Graph) -> SentenceTransformerEmbedder:
        def load(_model: str, device: str, backend: str) -> StandIn:
            if backend == "openvino":
                return graph
            assert (device, backend) == ("cpu", "torch")
            return StandIn()

        monkeypatch.setattr(embedder_module, "_load", load)
        return SentenceTransformerEmbedder(MODEL, backend="openvino")

    return made


def test_a_graph_whose_vectors_are_those_of_the_weights_is_used(
    export: Callable[[Graph], SentenceTransformerEmbedder],
) -> None:
    graph = Graph(error=0.0)
    embedder = export(graph)
    before = len(graph.batches)
    embedder.embed_tokens([[1, 2]])
    assert len(graph.batches) == before + 1, "the probe's model is not left in its place"


@pytest.mark.parametrize("error", [2.0, float("nan")])
def test_a_graph_that_makes_other_vectors_is_refused(
    export: Callable[[Graph], SentenceTransformerEmbedder], error: float
) -> None:
    """Its vectors would be of the space of the weights, and mixed with theirs."""
    with pytest.raises(ConfigurationError, match="FRESHET_EMBED_BACKEND=openvino, but vectors"):
        export(Graph(error=error))


@pytest.mark.parametrize(
    ("backend", "remedy"),
    [("openvino", r"sentence-transformers\[openvino\]"), ("onnx", "use openvino or torch")],
)
def test_a_backend_that_is_not_installed_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, backend: str, remedy: str
) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str) -> Any:
        if name == "optimum.onnxruntime":
            raise ModuleNotFoundError(name)  # as where optimum itself is missing
        return None if name == "optimum.intel" else real(name)

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    with pytest.raises(ConfigurationError, match=f"FRESHET_EMBED_BACKEND={backend} .*{remedy}"):
        embedder_module._require_backend(backend)


def test_a_failure_in_one_pass_is_the_callers(make: Make) -> None:
    class Fails(StandIn):
        def forward(self, features: dict[str, Any]) -> dict[str, Any]:
            if features["input_ids"].shape[1] > 4:
                raise MemoryError("out of memory")
            return super().forward(features)

    embedder, _ = make(Fails(), batch=1)
    with pytest.raises(MemoryError):
        embedder.embed_tokens([[1], [2] * 9, [3]])
    assert embedder.embed_tokens([[1]]).shape == (1, 3)
