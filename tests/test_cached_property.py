"""Lazy attributes are computed once for an instance, and never wait for another thread."""

import threading

from tconv._cached_property import cached_property


class Thing:
    def __init__(self, compute):
        self.compute = compute

    @cached_property
    def value(self):
        """Value of the thing."""
        return self.compute()


def test_computed_once_for_each_instance():
    numbers = iter(range(9))
    one, other = Thing(lambda: next(numbers)), Thing(lambda: next(numbers))
    assert (one.value, other.value, one.value, other.value) == (0, 1, 0, 1)
    assert Thing.value.__doc__ == "Value of the thing."


def test_a_thread_that_computes_does_not_delay_another():
    """A fork copies acquired locks, so that the child would wait for ever if this attribute had one."""
    inside, go_on = threading.Event(), threading.Event()
    slow = Thing(lambda: (inside.set(), go_on.wait(60)))
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    assert inside.wait(60)
    found = []
    other = threading.Thread(target=lambda: found.append(Thing(lambda: 5).value))
    other.start()
    other.join(30)
    meanwhile = list(found)
    go_on.set()
    thread.join()
    other.join()
    assert meanwhile == [5]
