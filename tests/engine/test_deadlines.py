"""The heap of due items."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from bgpool_jupyter.engine.deadlines import Deadlines


class Item:
    """Not comparable on purpose."""

    def __init__(self, name=""):
        self.name = name
        self._token = 0

    __lt__ = None


def popped(deadlines, now):
    names = []
    while (entry := deadlines.pop_due(now)) is not None:
        entry[2]._token = 0
        names.append(entry[2].name)
    return names


def test_earliest_first_and_ties_in_the_order_of_pushing():
    deadlines = Deadlines()
    for due, name in [(2, "c"), (1, "a"), (1, "b"), (3, "d")]:
        deadlines.push(due, Item(name))
    assert deadlines.next_due() == 1
    assert popped(deadlines, 2) == ["a", "b", "c"]
    assert deadlines.next_due() == 3


def test_a_cancelled_item_is_not_returned():
    deadlines = Deadlines()
    item = Item("a")
    deadlines.push(1, item)
    deadlines.cancel(item)
    deadlines.cancel(item)
    assert deadlines.next_due() is None
    assert popped(deadlines, 10) == []


def test_pushing_again_replaces_the_entry():
    deadlines = Deadlines()
    item = Item("a")
    deadlines.push(1, item)
    deadlines.push(5, item)
    assert deadlines.next_due() == 5
    assert popped(deadlines, 10) == ["a"]


def test_a_million_starts_and_stops_of_far_items_leave_the_heap_small():
    deadlines = Deadlines()
    items = [Item() for _ in range(100)]
    for turn in range(1_000_000):
        item = items[turn % 100]
        deadlines.push(1e9 - turn, item)
        deadlines.cancel(item)
    assert len(deadlines.heap) <= 1024


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.booleans())))
def test_against_a_plain_dictionary(steps):
    deadlines = Deadlines()
    items = [Item(str(n)) for n in range(10)]
    model = {}
    for order, (due, number, cancel) in enumerate(steps):
        if cancel:
            deadlines.cancel(items[number])
            model.pop(number, None)
        else:
            deadlines.push(due, items[number])
            model[number] = (due, order)
    expected = [str(number) for number, _ in sorted(model.items(), key=lambda pair: pair[1])]
    assert popped(deadlines, 100) == expected
