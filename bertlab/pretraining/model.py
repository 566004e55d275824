"""The model and tokenizer of an NSP or MLM run: a checkpoint's, or new ones from the text itself."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertlab.cli.arguments import ModelArguments, NspArguments
from bertlab.console import info
from bertlab.data import input_length
from bertlab.errors import UserError, did_you_mean
from bertlab.models import loading, parts, segment_cosine, surgery
from bertlab.pretraining.dataset import CLASS_NAMES, Text

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Objective -> (Auto class, its mapping of model types).
AUTO_CLASSES = {
    "nsp": ("AutoModelForNextSentencePrediction", "MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING"),
    "mlm": ("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING"),
    "nsp+mlm": ("AutoModelForPreTraining", "MODEL_FOR_PRETRAINING_MAPPING"),
}
# What --model_config may change; the vocabulary's size is the tokenizer's.
SETTINGS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings"),
    *("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "layer_norm_eps"),
)
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Sentences given to the trainer of a tokenizer at once, a step of its progress bar.
LEARN_BATCH = 1000


def train_tokenizer(sentences: "Dataset", vocabulary: int) -> "PreTrainedTokenizerBase":
    """Return an uncased WordPiece tokenizer as BERT's, trained on a table of sentences.

    The same sentences give the same ids, on every process and when a run is resumed. The trainer alone would number
    the characters that continue a word in the order of a hash table, so a first pass finds them and the second is
    given them in order.
    """
    from tokenizers import models, processors
    from transformers import PreTrainedTokenizerFast

    characters = (token for token in _learn(sentences, 0, SPECIAL_TOKENS, "Characters") if token.startswith("##"))
    vocab = _learn(sentences, vocabulary, (*SPECIAL_TOKENS, *sorted(characters)), "Words")
    tokenizer = _untrained(models.WordPiece(vocab, unk_token="[UNK]"))
    ends = [(token, vocab[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **dict(zip(names, SPECIAL_TOKENS, strict=True)),
    )


def _learn(sentences: "Dataset", vocabulary: int, given: Sequence[str], description: str) -> dict[str, int]:
    """Return the ids of tokens: those given, every character of the text, and pieces until there are enough."""
    from datasets.utils import tqdm
    from tokenizers import models, trainers

    tokenizer = _untrained(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=list(given), show_progress=False)
    batches = tqdm(
        sentences.iter(batch_size=LEARN_BATCH),
        total=math.ceil(len(sentences) / LEARN_BATCH),
        desc=description,
        unit="k sentences",
    )
    tokenizer.train_from_iterator((batch["sentence"] for batch in batches), trainer, length=len(sentences))
    return dict(tokenizer.get_vocab())


def _untrained(model: Any) -> Any:
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def scratch_config(nsp: NspArguments, tokenizer: "PreTrainedTokenizerBase") -> "PretrainedConfig":
    """Return BERT's configuration with what --model_config changes.

    Raises:
        UserError: a setting that BERT does not have, or a value that it cannot have.
    """
    from transformers import BertConfig

    base = BertConfig()
    values = {name: _setting(name, text, getattr(base, name, None)) for name, text in nsp.model_config.items()}
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **values)
    if config.hidden_size % config.num_attention_heads:
        raise UserError(
            f"--model_config: hidden_size {config.hidden_size} is not a multiple of the number of heads, "
            f"{config.num_attention_heads}.",
            "Change hidden_size or num_attention_heads.",
        )
    return config


def _setting(name: str, text: str, default: Any) -> Any:
    """Return the value of a --model_config setting, of the type of BERT-base's."""
    from transformers.activations import ACT2FN

    if name not in SETTINGS:
        raise UserError(f"--model_config: BERT has no setting {name!r}.", did_you_mean(name, SETTINGS))
    if isinstance(default, str):
        if text not in ACT2FN:
            raise UserError(f"--model_config {name}={text}: no such activation.", did_you_mean(text, ACT2FN))
        return text
    whole = isinstance(default, int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = math.nan
    if not (value >= 1 if whole else 0 <= value < 1):
        kind = "a whole number of at least 1" if whole else "a number from 0 to below 1"
        raise UserError(f"--model_config {name}={text}: it must be {kind}.", f"BERT-base has {default}.")
    return value


def tokenizer_and_config(
    nsp: NspArguments, arguments: ModelArguments, text: Text
) -> tuple["PreTrainedTokenizerBase", "PretrainedConfig"]:
    """Return those of the checkpoint, or new ones: a tokenizer trained on the text, a configuration from flags.

    Raises:
        UserError: they cannot be loaded, a setting is not BERT's, --max_seq_length is out of range, or they are not for
            the objective (see `refuse_unfit`).
    """
    # The configuration first: its error names a model that does not exist.
    config = None if nsp.from_scratch else loading.load_config(arguments)
    if nsp.train_tokenizer:
        tokenizer = train_tokenizer(text.sentences, nsp.train_tokenizer)
    else:
        tokenizer = loading.load_tokenizer(arguments)
    if config is None:
        config = scratch_config(nsp, tokenizer)
    if nsp.train_tokenizer:
        tokenizer.model_max_length = config.max_position_embeddings
    input_length.check_max_length(nsp.max_seq_length, tokenizer, config)
    refuse_unfit(nsp, config, tokenizer)  # before a long text is paired and tokenized for nothing
    return tokenizer, config


def build_model(
    nsp: NspArguments, arguments: ModelArguments, config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase"
) -> tuple["PreTrainedModel", bool]:
    """Return the model of an objective, and whether its NSP head and pooler are pretrained.

    Raises:
        UserError: its tokenizer has too many tokens, or its weights cannot be loaded.
    """
    import transformers

    if "nsp" in nsp.objective:
        config.id2label = dict(enumerate(CLASS_NAMES))
        config.label2id = {label: index for index, label in enumerate(CLASS_NAMES)}
    auto_class = getattr(transformers, AUTO_CLASSES[nsp.objective][0])
    if nsp.from_scratch:
        return auto_class.from_config(config), False
    if nsp.objective == "nsp":
        auto_class = loading.next_sentence_class(config)
    model, new = loading.load_weights(auto_class, arguments, config, tokenizer)
    renewed = arguments.new_head or (arguments.reinit_layers is not None and bool(parts.poolers(model)))
    pretrained = not renewed and not any("seq_relationship" in key or "pooler" in key for key in new)
    if nsp.objective == "nsp" and isinstance(model, transformers.BertForNextSentencePrediction) and not renewed:
        model = model if pretrained else segment_cosine.replace_head(model)
    if "nsp" in nsp.objective and not pretrained:
        info("no pretrained next-sentence head is used; a new one is trained in this run.")
    return surgery.apply_model_surgery(model, arguments), pretrained


def refuse_unfit(nsp: NspArguments, config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Refuse a model without the heads of an objective, and a tokenizer whose tokens or words cannot be masked."""
    import transformers

    # The pretraining class of a RoBERTa has an MLM head alone, so NSP asks for both mappings.
    objectives = {nsp.objective, "nsp"} if "nsp" in nsp.objective else {nsp.objective}
    if not all(type(config) in getattr(transformers, AUTO_CLASSES[objective][1]) for objective in objectives):
        raise UserError(
            f"a {config.model_type} model has no head for --objective {nsp.objective}.",
            "NSP needs a BERT, ERNIE, MobileBERT, FNet or Megatron-BERT model."
            if "nsp" in nsp.objective
            else "MLM needs an encoder, such as BERT or RoBERTa.",
        )
    if "mlm" in nsp.objective and tokenizer.mask_token_id is None:
        raise UserError(f"--objective {nsp.objective}: the tokenizer has no mask token.", "Use --objective nsp.")
    if nsp.whole_word_masking and not any(token.startswith("##") for token in tokenizer.get_vocab()):
        raise UserError(
            "--whole_word_masking: this tokenizer does not mark the pieces of a word with ##, as BERT's does.",
            "Leave it out.",
        )
