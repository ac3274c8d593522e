"""Attributes of a worker that are checked when they are written, and their second spellings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

from .arguments import check_callable, check_flag, check_instant, check_interval, check_name
from .errors import ArgumentTypeError

__all__ = [
    "Alias",
    "Setting",
    "check_finished",
    "check_instant_setting",
    "check_own_name",
    "check_timeout_setting",
    "flag",
]

T = TypeVar("T")


class Alias(Generic[T]):
    """A second spelling of an attribute."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.__doc__ = f"The same as `{target}`."

    @overload
    def __get__(self, instance: None, owner: type) -> Alias[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Alias[T] | T:
        """Read the attribute."""
        if instance is None:
            return self
        value: T = getattr(instance, self._target)
        return value

    def __set__(self, instance: object, value: T) -> None:
        """Write the attribute, with its checks."""
        setattr(instance, self._target, value)


class Setting(Generic[T]):
    """A setting of a worker that is checked whenever it is written."""

    def __init__(self, check: Callable[[object, str], Any], doc: str) -> None:
        self._check = check
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the attribute's name."""
        self._name = name
        self._slot = "_" + name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> Setting[T] | T:
        """Read the setting."""
        if instance is None:
            return self
        value: T = getattr(instance, self._slot)
        return value

    def __set__(self, instance: Any, value: object) -> None:
        """Check and write the setting."""
        checked = self._check(value, self._name)
        instance._veto(self._name, checked)
        setattr(instance, self._slot, checked)
        instance._host.changed(instance)


def flag(*, default: bool) -> Callable[[object, str], bool]:
    """Return a check for a flag; None stands for `default`."""
    return lambda value, argument: check_flag(value, argument, default=default)


def check_own_name(value: object, argument: str) -> str:
    """Return a name; None is refused."""
    name = check_name(value, argument)
    if name is None:
        message = f"{argument} must be a str, not None; give a text"
        raise ArgumentTypeError(message)
    return name


def check_instant_setting(value: object, argument: str) -> float | None:
    """Return an instant in UTC epoch seconds, or None."""
    return None if value is None else check_instant(value, argument)


def check_timeout_setting(value: object, argument: str) -> float | None:
    """Return seconds greater than 0, or None."""
    return None if value is None else check_interval(value, argument)


def check_finished(value: object, argument: str) -> Callable[..., Any] | None:
    """Return a function to call at the end, or None."""
    return None if value is None else check_callable(value, argument)
