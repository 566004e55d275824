"""A next-sentence head for BERT checkpoints that have none: it starts as the cosine of the two mean-pooled segments.

transformers' BertForNextSentencePrediction reads the first token through a pooler, which in a sentence encoder is
untrained; a few hundred pairs do not teach it what the other tokens already know. The weights are plain safetensors
with the encoder under `bert.`, so that any Auto class reads it. No code is written beside them (auto_map): a program
without bertlab takes the ONNX export.
"""

from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForNextSentencePrediction, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import NextSentencePredictorOutput


class BertSegmentCosineForNextSentencePrediction(BertPreTrainedModel):
    """BERT whose class logits are linear in the product of its two segments' mean-pooled unit vectors."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.seq_relationship = nn.Linear(config.hidden_size, config.num_labels or 2)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **options: Any,
    ) -> NextSentencePredictorOutput:
        """Return the class logits (rows, 2) of padded pairs; `labels` only tell Trainer that there are some."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        hidden = self.bert(input_ids, mask, types, **options).last_hidden_state.float()
        first, second = (_unit_mean(hidden, mask * (types == segment)) for segment in (0, 1))
        # Times the size: entries of about 1, as a layer drawn with BERT's initializer_range expects.
        return NextSentencePredictorOutput(logits=self.seq_relationship(first * second * hidden.shape[-1]))

    @torch.no_grad()
    def start_at_cosine(self, scale: float, threshold: float) -> None:
        """Make the difference of the logits, IsNext − NotNext, `scale` * (cosine − threshold)."""
        signs = torch.tensor([0.5, -0.5], device=self.device)
        self.seq_relationship.weight.copy_(signs[:, None] * scale / self.config.hidden_size)
        self.seq_relationship.bias.copy_(-signs * scale * threshold)


def replace_head(model: BertForNextSentencePrediction) -> BertSegmentCosineForNextSentencePrediction:
    """Return the encoder of a model, which is used up, under a head of its segments' cosine."""
    changed = BertSegmentCosineForNextSentencePrediction(model.config)
    model.bert.pooler = None
    changed.bert, changed.name_or_path = model.bert, model.name_or_path
    return changed


def _unit_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean (rows, size) of the tokens (rows, tokens, size) in a mask, of length 1."""
    total = (hidden * mask.unsqueeze(-1)).sum(dim=1)
    return nn.functional.normalize(total, dim=-1)
