"""Small cross-encoders, made here: a BERT of two layers over the bundled model's own tokenizer."""

from pathlib import Path
from typing import Any

from corpus.embed.model_files import model_folder

BUNDLED = "all-MiniLM-L6-v2"


def make_cross_encoder(folder: Path, *, labels: int = 1, seed: int = 7) -> Path:
    """Write a model whose numbers are drawn once; its folder."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    tokenizer: Any = AutoTokenizer.from_pretrained(str(model_folder(BUNDLED)))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=labels,
        max_position_embeddings=128,
        initializer_range=0.5,  # so that scores of two texts differ by more than rounding
    )
    torch.manual_seed(seed)
    model: Any = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(folder)
    return folder
