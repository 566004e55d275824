#!/usr/bin/env python
"""Train BERT on plain text for next-sentence prediction (NSP), masked language modeling (MLM), or both.

    python run_nsp.py --text meditations.txt
    python run_nsp.py --config configs/nsp/books.yaml --text books/
    python run_nsp.py --config configs/nsp/pretrain_small.yaml --text books/

Without --config the recipe is configs/nsp/meditations.yaml, whose values are the defaults.
"""

import sys
from pathlib import Path
from typing import Any

from bertlab import hub
from bertlab.cli import parser, recipes
from bertlab.cli.arguments import ModelArguments, NspArguments, RunArguments
from bertlab.cli.entry_point import entry_point
from bertlab.models import loading, lora
from bertlab.pretraining.text_files import find_text_files
from bertlab.training import failures, memory, output_dir
from bertlab.training.signals import Signals


@entry_point
def main(argv: list[str] | None = None) -> int:
    """Run the script with these arguments, or those of the command line, and return the exit status."""
    groups = (NspArguments, ModelArguments, RunArguments)
    parsed = parser.parse(sys.argv[1:] if argv is None else argv, groups, __doc__, recipes.NSP_DEFAULT)
    nsp_args, model_args, run_args, training, invocation = parsed.unpack()
    if run_args.print_config:
        print(parser.as_recipe(invocation.settings), end="")
        return 0
    find_text_files(nsp_args.text)  # before the Hub is asked, and before the heavy imports
    if not nsp_args.from_scratch:
        loading.check_exists(model_args)
        lora.refuse_adapter_on_adapter(model_args, run_args)
    folder = Path(training["output_dir"])
    checkpoint = output_dir.find_checkpoint(folder, run_args, model_args.model_name_or_path)
    names = [] if nsp_args.train_tokenizer else model_args.names
    hub.go_offline_if_unreachable(*names, cache_dir=model_args.cache_dir)
    with failures.handle_run_failures(folder, {**invocation.settings, **training}) as signals:
        run(nsp_args, model_args, run_args, training, invocation, checkpoint, signals)
    return 0


def run(
    nsp_args: NspArguments,
    model_args: ModelArguments,
    run_args: RunArguments,
    training: dict[str, Any],
    invocation: parser.Invocation,
    checkpoint: Path | None,
    signals: Signals,
) -> None:
    """Read, pair, tokenize, build, train, evaluate, report."""
    memory.ask_for_large_pages()
    # The heavy libraries are imported only now, so that --help and a misspelt flag answer at once.
    from bertlab.data import summary, tokenization
    from bertlab.evaluation import thresholds
    from bertlab.pretraining import dataset, examples, objectives
    from bertlab.pretraining.model import build_model, tokenizer_and_config
    from bertlab.report import writer
    from bertlab.training import resume
    from bertlab.training.arguments import prepare_process, set_seeds, training_arguments
    from bertlab.training.callbacks import StopOnSignal
    from bertlab.training.plan import describe_plan, print_parameters
    from bertlab.training.trainer import EncoderTrainer, finish, train_and_save

    text = dataset.read(nsp_args, model_args.cache_dir, invocation.started)
    tokenizer, config = tokenizer_and_config(nsp_args, model_args, text)
    data = dataset.make_splits(text, nsp_args, tokenizer)
    thresholds.check(run_args.threshold, data.schema)
    # Rows bring their numbers to the collator, which no model takes.
    args = training_arguments({**training, "remove_unused_columns": False}, run_args, data, invocation.given)
    tokenized = tokenization.tokenize_splits(data, tokenizer, nsp_args, invocation.started)
    summaries = summary.summarize(tokenized, data.schema, nsp_args.max_seq_length)
    train_dataset = objectives.training_rows(args, tokenized, data)
    if nsp_args.show_examples and train_dataset is not None:
        collate = objectives.data_collator(nsp_args, tokenizer, args.seed)
        examples.show(train_dataset, nsp_args.show_examples, collate, tokenizer)
        return
    later = objectives.later_epochs(nsp_args, args, train_dataset, text, tokenizer, invocation.started)

    prepare_process(args)  # seeds, before the new head gets its first weights
    model, has_pretrained_head = build_model(nsp_args, model_args, config, tokenizer)
    if run_args.print_parameters:
        print_parameters(model)
        return
    trainer = EncoderTrainer(
        model=model,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=objectives.evaluation_rows(nsp_args, tokenized, data),
        data_collator=objectives.data_collator(nsp_args, tokenizer, args.seed, later),
        processing_class=tokenizer,
        compute_loss_func=objectives.loss_function(nsp_args, args),
        compute_metrics=objectives.metrics_function(nsp_args, args, data),
        preprocess_logits_for_metrics=objectives.preprocess_logits(nsp_args),
        callbacks=[StopOnSignal(signals)],
        run=run_args,
    )
    trainer.run_signature = resume.run_signature(trainer, invocation.settings, data, tokenized)
    resume.refuse_other_run(checkpoint, trainer.run_signature)

    with output_dir.claimed(Path(args.output_dir), run_args):  # once all that may be refused was
        plan = describe_plan(trainer)
        reported = data.reported_splits(args)
        if not has_pretrained_head:
            objectives.fit_start(trainer, tokenized, data)
        baselines = objectives.compute_baselines(nsp_args, trainer, tokenized, data, reported, has_pretrained_head)
        set_seeds(args)  # with or without baselines before it, the same training
        train_metrics = train_and_save(trainer, checkpoint)
        results = objectives.evaluate_trained(nsp_args, trainer, tokenized, data, reported)
        selection = objectives.evaluate_splits(nsp_args, trainer, tokenized, data, data.selection_splits)
        writer.write_run(
            writer.Run(
                *(run_args, invocation, data, tokenized, summaries, plan, results, selection, train_metrics),
                baselines=baselines,
                repository=trainer.hub_model_id,
            )
        )
        finish(trainer)


if __name__ == "__main__":
    sys.exit(main())
