"""`cached_property`: an attribute that is computed at its first access, without a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 - the name of functools
    """`functools.cached_property` without its lock.

    Before Python 3.12 all instances of a class share one lock per attribute, and a child that is forked while another
    thread owns it waits for ever. Here two threads may compute the same value twice, which is harmless.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> cached_property[T] | T:
        if instance is None:
            return self
        value = self._compute(instance)
        instance.__dict__[self._name] = value  # has precedence over this descriptor, which has no __set__
        return value
