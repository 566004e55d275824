#!/usr/bin/env python
"""Fine-tune a BERT-family encoder to classify text or pairs of text, or to score them.

    accelerate launch run_classification.py --task cola
    accelerate launch run_classification.py --task cola_public --data_dir cola_public/raw --learning_rate 3e-5
    python run_classification.py --train_file reviews.csv --text_column_names content --label_column_name score \\
        --label_map 1=negative 2=negative 3=neutral 4=positive 5=positive --validation_fraction 0.1 \\
        --model_name_or_path google-bert/bert-base-uncased
"""

import sys
import time
from pathlib import Path

from bertlab import hub
from bertlab.cli import parser
from bertlab.cli.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.cli.entry_point import entry_point
from bertlab.data import sources
from bertlab.training import failures, memory, output_dir


@entry_point
def main(argv: list[str] | None = None) -> int:
    """Run the script with these words, or those of the command line, and return the exit status."""
    started = time.time()
    words = sys.argv[1:] if argv is None else argv
    arguments = parser.parse(words, (DataArguments, ModelArguments, RunArguments), __doc__)
    if arguments[RunArguments].print_config:
        print(parser.print_config(arguments), end="")
        return 0
    model = arguments[ModelArguments]
    checkpoint = output_dir.check(parser.output_dir(arguments), arguments[RunArguments], model.model_name_or_path)
    hub.go_offline_if_unreachable(*model.names, dataset=sources.hub_name(arguments[DataArguments]))
    with failures.handle_run_failures(parser.output_dir(arguments), arguments.training):
        run(arguments, checkpoint, started)
    return 0


def run(arguments: parser.Arguments, checkpoint: Path | None, started: float) -> None:
    """Load, encode, build, train, evaluate, report."""
    memory.ask_for_large_pages()
    # The heavy libraries are imported only now, so that --help and a misspelt flag answer at once.
    from bertlab.data import dataset, findings, input_length, streaming, summary, tokenization
    from bertlab.evaluation import evaluate, metrics
    from bertlab.models import loading, surgery
    from bertlab.report import writer
    from bertlab.training import classification, resume
    from bertlab.training.arguments import set_seeds, training_arguments
    from bertlab.training.loss import loss_for
    from bertlab.training.plan import describe_plan, print_parameters
    from bertlab.training.trainer import publish, train_and_save

    data_args, model_args, run_args = (arguments[group] for group in arguments.groups)
    streaming.check(arguments)
    surgery.check(model_args, run_args)
    config = loading.load_config(model_args)
    tokenizer = loading.load_tokenizer(model_args)
    input_length.check_max_length(data_args.max_seq_length, tokenizer, config)
    load = streaming.load if data_args.streaming else dataset.load
    loaded = load(
        data_args,
        loading.class_names(config),
        training=arguments.training["do_train"],
        cache_dir=model_args.cache_dir,
        token=model_args.token,
    )
    metrics.check_metrics(loaded.metrics, loaded.schema.kind, loaded.schema.size)
    findings.print_findings(loaded)
    tokenized = tokenization.tokenize_splits(loaded, tokenizer, data_args, started)
    summaries = summary.summarize(tokenized, loaded.schema, data_args.max_seq_length)

    args = training_arguments(arguments, loaded)
    set_seeds(args)  # before the new head gets its first weights
    model = loading.build_classifier(model_args, config, loaded.schema, tokenizer)
    if run_args.print_parameters:
        print_parameters(model)
        return
    train = classification.training_rows(args, tokenized, loaded)
    loss = loss_for(loaded.schema, train, model_args.class_weights, args.label_smoothing_factor)
    output_dir.make(Path(args.output_dir), run_args)  # after all that may be refused, so that nothing is left of it
    classification.warn_unused_flags(run_args, args, loaded)
    eval_split = tokenized.get(loaded.eval_split or "")
    trainer = classification.build_trainer(arguments, args, model, tokenizer, train, eval_split, loaded, loss)
    resume.begin(trainer, checkpoint, arguments, loaded, tokenized)
    plan = describe_plan(trainer, train, data_args.fixed_length, run_args.precision)

    train_metrics = train_and_save(trainer, checkpoint) if train is not None else {}
    results = evaluate.evaluate_splits(trainer, tokenized, loaded, loaded.reported_splits(args), loss.of_rows)
    selection = evaluate.evaluate_splits(trainer, tokenized, loaded, loaded.selection_splits, loss.of_rows)
    writer.finish(writer.Run(arguments, loaded, tokenized, summaries, plan, results, selection, train_metrics, started))
    publish(trainer)


if __name__ == "__main__":
    sys.exit(main())
