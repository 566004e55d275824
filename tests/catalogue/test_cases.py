"""The cases of files, labels and texts that people bring, counted, so that none is lost."""

import test_file_cases
import test_label_cases
import test_text_cases


def test_the_tables_have_their_cases() -> None:
    modules = (test_file_cases, test_label_cases, test_text_cases)
    names = [(module.__name__, case.name) for module in modules for case in module.CASES]
    assert len(set(names)) == len(names) == 239
