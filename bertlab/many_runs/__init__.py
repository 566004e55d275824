"""What is done with several runs: suite, sweep, compare, ledger, submission."""
