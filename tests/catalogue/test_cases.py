"""The cases of files and labels that people bring, counted, so that none is lost."""

import test_file_cases
import test_label_cases


def test_the_tables_have_their_cases() -> None:
    names = [(module.__name__, case.name) for module in (test_file_cases, test_label_cases) for case in module.CASES]
    assert len(set(names)) == len(names) == 140
