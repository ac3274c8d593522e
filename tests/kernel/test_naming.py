"""Names of workers that were given none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bgpool_jupyter.kernel.naming import Cell, NameBook, function_name


def cell(key, execution):
    return Cell(key, str(execution), execution)


def test_same_cell_run_again_has_the_same_names():
    book = NameBook()
    first = [book.name(cell("a", 1), function, "", ()) for function in ("poll", "poll", None, "read")]
    assert first == ["poll", "poll-2", "cell-1", "read"]
    assert [book.name(cell("a", 9), function, "", first) for function in ("poll", "poll", None, "read")] == first


def test_cells_have_their_own_names():
    book = NameBook()
    assert book.name(cell("a", 1), "poll", "", ()) == "poll"
    assert book.name(cell("b", 2), "poll", "", ["poll"]) == "poll-2"
    assert book.name(cell("a", 3), "poll", "", ["poll", "poll-2"]) == "poll"
    assert book.name(cell("b", 4), "poll", "", ["poll", "poll-2"]) == "poll-2"


def test_name_that_was_given_by_a_person_is_not_taken():
    book = NameBook()
    assert book.name(cell("a", 1), "poll", "", ["poll", "poll-2"]) == "poll-3"


def test_name_is_not_given_to_another_cell_while_its_worker_is_gone():
    book = NameBook()
    assert book.name(cell("a", 1), None, "x", ()) == "cell-1"
    assert book.name(cell("b", 1), None, "y", ()) == "cell-1-2"


def test_terminal():
    book = NameBook()
    assert book.name(cell(None, 1), "poll", "poll()", ()) == "poll"
    assert book.name(cell(None, 2), "poll", "poll(2)", ["poll"]) == "poll"
    assert book.name(cell(None, 3), None, "1 + 1", ()) == "cell-3"
    assert book.name(cell(None, 4), None, "2 + 2", ()) == "cell-4"
    assert book.name(cell(None, 5), None, "1 + 1", ()) == "cell-3"


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        ({"metadata": {"cellId": "c1"}, "content": {"code": "x"}, "header": {"msg_id": "m"}}, "c1"),
        ({"metadata": {}, "content": {"code": "x"}, "header": {"msg_id": "m"}}, "x"),
        ({}, ""),
        (None, ""),
    ],
)
def test_cell_of_a_kernel(request_, key):
    shell = SimpleNamespace(kernel=object(), get_parent=lambda: request_, displayhook=SimpleNamespace(prompt_count=3))
    assert Cell.current(shell).key == key
    assert Cell.current(shell).number == 3


def test_cell_of_a_terminal():
    assert Cell.current(SimpleNamespace(displayhook=SimpleNamespace(prompt_count=3)))[:4] == (None, "3", 3, None)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("poll", "poll"),
        (" lab.poll ", "poll"),
        ("lab.poll(1)(2)", None),
        ("await poll()", "poll"),
        ("a.b().poll()", "poll"),
        ("lambda: poll()", None),
        ("x = poll()", None),
        ("1 +", None),
        ("'\\0'", None),
        ("\0", None),
    ],
)
def test_function_name(code, name):
    assert function_name(code) == name
