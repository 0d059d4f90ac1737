"""The settings of reranking; `Settings` has them with all others."""

from dataclasses import dataclass
from typing import Annotated

from workers.config.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankSettings:
    """Which model puts in order what a search found."""

    rerank_model: Annotated[
        str,
        Setting(
            'cross-encoder for searches with `rerank = "model"`, as sentence-transformers names it, or a folder; of '
            "gateways and `freshet search`; needs the extra freshet[embed]; empty: such searches are refused",
        ),
    ]
