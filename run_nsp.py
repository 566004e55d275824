#!/usr/bin/env python
"""Train BERT's next-sentence head (and its masked-word head, or a small BERT from nothing) on plain text.

    python run_nsp.py --text meditations.txt
    python run_nsp.py --config configs/nsp/books.yaml --text books/
    python run_nsp.py --config configs/nsp/pretrain_small.yaml --text books/

Without --config the recipe is configs/nsp/meditations.yaml.
"""

import sys
import time
from pathlib import Path

from bertlab import cli, hub, memory, recipes
from bertlab.arguments import ModelArguments, NspArguments, RunArguments
from bertlab.errors import exits_with_status_2
from bertlab.lifecycle import endings, output


@exits_with_status_2
def main(argv: list[str] | None = None) -> int:
    """Run the script with these words, or those of the command line, and return the exit status."""
    started = time.time()
    words = sys.argv[1:] if argv is None else argv
    arguments = cli.parse(words, (NspArguments, ModelArguments, RunArguments), __doc__, recipes.NSP_DEFAULT)
    if arguments[RunArguments].print_config:
        print(cli.print_config(arguments), end="")
        return 0
    model = arguments[ModelArguments]
    checkpoint = output.check(cli.output_dir(arguments), arguments[RunArguments], model.model_name_or_path)
    hub.go_offline_if_unreachable(*([] if arguments[NspArguments].train_tokenizer else model.names))
    with endings.told_in_one_line(cli.output_dir(arguments), arguments.training):
        run(arguments, checkpoint, started)
    return 0


def run(arguments: cli.Arguments, checkpoint: Path | None, started: float) -> None:
    """Read, pair, encode, build, train, evaluate, report."""
    memory.ask_for_large_pages()
    # The heavy libraries are imported only now, so that --help and a misspelt flag answer at once.
    from bertlab.inputs import encoding
    from bertlab.lifecycle import resuming
    from bertlab.models import adaptation
    from bertlab.pretraining import nsp, nsp_model, nsp_training
    from bertlab.report import record, summary
    from bertlab.trainer import training

    nsp_args, model_args, run_args = (arguments[group] for group in arguments.groups)
    nsp_model.check(nsp_args, model_args, arguments.training)
    adaptation.check(model_args, run_args)
    text = nsp.read(nsp_args, model_args.cache_dir, started)
    tokenizer, config = nsp_model.tokenizer_and_config(nsp_args, model_args, text)
    encoding.check_max_length(nsp_args.max_seq_length, tokenizer, config)
    loaded = nsp.make_splits(text, nsp_args, tokenizer)
    nsp.say_what_is_repeated(text, loaded)
    encoded = encoding.encode_all(loaded, tokenizer, nsp_args, started)
    summaries = summary.describe(encoded, loaded.space, nsp_args.max_seq_length)

    args = training.training_arguments(arguments, loaded)
    training.set_seeds(args)  # before the new head gets its first weights
    model, has_pretrained_head = nsp_model.build(nsp_args, model_args, config, tokenizer)
    if run_args.print_parameters:
        summary.print_parameters(model)
        return
    output.make(Path(args.output_dir), run_args)
    trainer = nsp_training.build_trainer(nsp_args, run_args, args, model, tokenizer, encoded, loaded)
    train = encoded[loaded.train] if loaded.train and args.do_train else None
    resuming.begin(trainer, checkpoint, arguments, loaded, encoded)
    plan = summary.plan(trainer, train, nsp_args.fixed_length, run_args.precision)

    wanted = loaded.wanted(args)
    controls = nsp_training.controls(nsp_args, trainer, encoded, loaded, wanted, has_pretrained_head)
    training.set_seeds(args)  # with or without controls before it, the same training
    train_metrics = training.train(trainer, checkpoint) if train is not None else {}
    results = nsp_training.evaluate_trained(nsp_args, trainer, encoded, loaded, wanted)
    selection = nsp_training.evaluate(nsp_args, trainer, encoded, loaded, loaded.kept_for_choices)
    record.finish(
        record.Run(arguments, loaded, encoded, summaries, plan, results, selection, train_metrics, started, controls)
    )
    training.publish(trainer)


if __name__ == "__main__":
    sys.exit(main())
