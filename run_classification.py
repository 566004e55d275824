#!/usr/bin/env python
"""Fine-tune a BERT-family encoder to classify text or pairs of text, or to score them.

    python run_classification.py --task cola
    python run_classification.py --train_file reviews.csv \\
        --text_column_names content --label_column_name score \\
        --label_map 1=negative 2=negative 3=neutral 4=positive 5=positive \\
        --validation_fraction 0.1 \\
        --model_name_or_path google-bert/bert-base-uncased
"""

import sys
from pathlib import Path
from typing import Any

from bertlab import hub
from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.cli.entry_point import entry_point
from bertlab.data import sources
from bertlab.models import loading, lora
from bertlab.training import failures, memory, output_dir
from bertlab.training.signals import Signals


@entry_point
def main(argv: list[str] | None = None) -> int:
    """Run the script with these arguments, or those of the command line, and return the exit status."""
    parsed = parser.parse(
        sys.argv[1:] if argv is None else argv, (DataArguments, ModelArguments, RunArguments), __doc__
    )
    data_args, model_args, run_args, training, invocation = parsed.unpack()
    if run_args.print_config:
        print(parser.as_recipe(invocation.settings), end="")
        return 0
    sources.check_exists(data_args)
    loading.check_exists(model_args)
    lora.refuse_adapter_on_adapter(model_args, run_args)
    folder = Path(training["output_dir"])
    checkpoint = output_dir.find_checkpoint(folder, run_args, model_args.model_name_or_path)
    data_name = sources.hub_name(data_args), data_args.dataset_config_name
    hub.go_offline_if_unreachable(*model_args.names, dataset=data_name, cache_dir=model_args.cache_dir)
    with failures.handle_run_failures(folder, {**invocation.settings, **training}) as signals:
        run(data_args, model_args, run_args, training, invocation, checkpoint, signals)
    return 0


def run(
    data_args: DataArguments,
    model_args: ModelArguments,
    run_args: RunArguments,
    training: dict[str, Any],
    invocation: parser.Invocation,
    checkpoint: Path | None,
    signals: Signals,
) -> None:
    """Load, tokenize, build, train, evaluate, report."""
    memory.ask_for_large_pages()
    # The heavy libraries are imported only now, so that --help and a misspelt flag answer at once.
    from bertlab.data import dataset, findings, summary, tokenization
    from bertlab.evaluation import evaluate, metrics, thresholds
    from bertlab.inference import inference_config
    from bertlab.report import writer
    from bertlab.training import resume
    from bertlab.training.arguments import prepare_process, training_arguments, warn_unused_flags
    from bertlab.training.callbacks import StopOnSignal
    from bertlab.training.collators import PaddingCollator
    from bertlab.training.loss import loss_for
    from bertlab.training.plan import describe_plan, print_parameters
    from bertlab.training.streaming import training_rows
    from bertlab.training.trainer import (
        EncoderTrainer,
        finish,
        longest_first,
        metrics_during_training,
        train_and_save,
    )

    if not training["do_train"]:
        data_args = inference_config.as_trained(data_args, model_args, invocation)
    config, tokenizer = loading.load_config_and_tokenizer(model_args, data_args.max_seq_length)
    data = dataset.load_splits(
        data_args,
        [] if model_args.new_head else loading.class_names(config),
        training=training["do_train"],
        cache_dir=model_args.cache_dir,
        token=model_args.token,
    )
    metrics.check_metrics(data.metrics, data.schema.kind, data.schema.size)
    thresholds.check(run_args.threshold, data.schema)
    findings.print_findings(data)
    args = training_arguments(training, run_args, data, invocation.given)
    tokenized = tokenization.tokenize_splits(data, tokenizer, data_args, invocation.started)
    summaries = summary.summarize(tokenized, data.schema, data_args.max_seq_length)

    prepare_process(args)  # seeds, before the new head gets its first weights
    model = loading.build_classifier(model_args, config, data.schema, tokenizer)
    if run_args.print_parameters:
        print_parameters(model)
        return
    train_dataset = training_rows(data, tokenized, args)
    loss = loss_for(data.schema, train_dataset, model_args.class_weights, args)
    trainer = EncoderTrainer(
        model=model,
        args=args,
        train_dataset=train_dataset,
        eval_dataset=longest_first(tokenized.get(data.eval_split or "")),
        data_collator=PaddingCollator(tokenizer, data_args.max_seq_length, data_args.pad_to_max_length),
        processing_class=tokenizer,
        compute_loss_func=loss,
        compute_metrics=metrics_during_training(data.schema, data.metrics, loss.of_rows),
        callbacks=[StopOnSignal(signals)],
        run=run_args,
    )
    trainer.run_signature = resume.run_signature(trainer, invocation.settings, data, tokenized)
    resume.refuse_other_run(checkpoint, trainer.run_signature)

    with output_dir.claimed(Path(args.output_dir), run_args):  # once all that may be refused was
        warn_unused_flags(run_args, args, data)
        plan = describe_plan(trainer)
        train_metrics = train_and_save(trainer, checkpoint)
        results = evaluate.evaluate_splits(trainer, tokenized, data, data.reported_splits(args), loss.of_rows)
        selection = evaluate.evaluate_splits(trainer, tokenized, data, data.selection_splits, loss.of_rows)
        writer.write_run(
            writer.Run(
                *(run_args, invocation, data, tokenized, summaries, plan, results, selection, train_metrics),
                repository=trainer.hub_model_id,
            )
        )
        finish(trainer)


if __name__ == "__main__":
    sys.exit(main())
