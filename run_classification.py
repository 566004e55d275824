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

from bertlab import cli, hub, memory
from bertlab.arguments import DataArguments, ModelArguments, RunArguments
from bertlab.errors import exits_with_status_2
from bertlab.inputs import sources
from bertlab.lifecycle import endings, output


@exits_with_status_2
def main(argv: list[str] | None = None) -> int:
    """Run the script with these words, or those of the command line, and return the exit status."""
    started = time.time()
    words = sys.argv[1:] if argv is None else argv
    arguments = cli.parse(words, (DataArguments, ModelArguments, RunArguments), __doc__)
    if arguments[RunArguments].print_config:
        print(cli.print_config(arguments), end="")
        return 0
    model = arguments[ModelArguments]
    checkpoint = output.check(cli.output_dir(arguments), arguments[RunArguments], model.model_name_or_path)
    hub.go_offline_if_unreachable(*model.names, dataset=sources.hub_name(arguments[DataArguments]))
    with endings.told_in_one_line(cli.output_dir(arguments), arguments.training):
        run(arguments, checkpoint, started)
    return 0


def run(arguments: cli.Arguments, checkpoint: Path | None, started: float) -> None:
    """Load, encode, build, train, evaluate, report."""
    memory.ask_for_large_pages()
    # The heavy libraries are imported only now, so that --help and a misspelt flag answer at once.
    from bertlab.inputs import check, data, encoding, streaming
    from bertlab.lifecycle import resuming
    from bertlab.models import adaptation, modeling
    from bertlab.report import record, summary
    from bertlab.scoring import evaluation
    from bertlab.trainer import classification, losses, training

    data_args, model_args, run_args = (arguments[group] for group in arguments.groups)
    streaming.check(arguments)
    adaptation.check(model_args, run_args)
    config = modeling.load_config(model_args)
    tokenizer = modeling.load_tokenizer(model_args)
    encoding.check_max_length(data_args.max_seq_length, tokenizer, config)
    load = streaming.load if data_args.streaming else data.load
    loaded = load(
        data_args,
        modeling.class_names(config),
        training=arguments.training["do_train"],
        cache_dir=model_args.cache_dir,
        token=model_args.token,
    )
    check.print_findings(loaded)
    encoded = encoding.encode_all(loaded, tokenizer, data_args, started)
    summaries = summary.describe(encoded, loaded.space, data_args.max_seq_length)

    args = training.training_arguments(arguments, loaded)
    training.set_seeds(args)  # before the new head gets its first weights
    model = modeling.build_classifier(model_args, config, loaded.space, tokenizer)
    if run_args.print_parameters:
        summary.print_parameters(model)
        return
    train = classification.training_rows(args, encoded, loaded)
    loss = losses.loss_for(loaded.space, train, model_args.class_weights, args.label_smoothing_factor)
    output.make(Path(args.output_dir), run_args)  # after all that may be refused, so that nothing is left of it
    classification.say_what_is_not_used(run_args, args, loaded)
    watched = encoded.get(loaded.watched or "")
    trainer = classification.build_trainer(arguments, args, model, tokenizer, train, watched, loaded, loss)
    resuming.begin(trainer, checkpoint, arguments, loaded, encoded)
    plan = summary.plan(trainer, train, data_args.fixed_length, run_args.precision)

    train_metrics = training.train(trainer, checkpoint) if train is not None else {}
    results = evaluation.evaluate(trainer, encoded, loaded, loaded.wanted(args), loss)
    selection = evaluation.evaluate(trainer, encoded, loaded, loaded.kept_for_choices, loss)
    record.finish(record.Run(arguments, loaded, encoded, summaries, plan, results, selection, train_metrics, started))
    training.publish(trainer)


if __name__ == "__main__":
    sys.exit(main())
