"""Checks of arguments that several modules share. Every error names the first offending element."""

from typing import Any

import numpy as np

from core.bellman import NO_MASS

MOST_COST = 1e12  # far above any price of a call, and its multiples' squares fit float32


def as_array(name: str, values: Any) -> np.ndarray:
    """`values` as an array; a ValueError if nested sequences differ in length."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} has no shape, expected an array: {error}") from error


def numbers(name: str, values: Any) -> np.ndarray:
    """`values` as a float64 array; a ValueError unless they are real numbers."""
    array = as_array(name, values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be real numbers, got dtype {array.dtype}.")
    return array.astype(np.float64)


def first(name: str, array: np.ndarray, bad: np.ndarray, expected: str) -> None:
    """Raises for the first element of `array` where `bad`."""
    if np.any(bad):
        where = np.unravel_index(np.argmax(bad), array.shape)
        index = f"[{', '.join(str(int(i)) for i in where)}]" if where else ""
        raise ValueError(f"{name}{index} = {array[where]} must be {expected}.")


def non_negative(name: str, values: Any) -> np.ndarray:
    """`values` as float64; a ValueError unless all are finite and at least 0."""
    array = numbers(name, values)
    first(name, array, ~(np.isfinite(array) & (array >= 0)), "a finite number of at least 0")
    return array


def prices(name: str, values: Any) -> np.ndarray:
    """`values` as float64; a ValueError unless all are from 0 to `MOST_COST`."""
    array = non_negative(name, values)
    first(name, array, array > MOST_COST, f"at most {MOST_COST:g}")
    return array


def discount(value: Any) -> float:
    """gamma as a float; a ValueError unless it is in (0, 1], and told from 1 if it is less."""
    gamma = in_range("discount", value, 0.0, 1.0, open_low=True)
    if 1.0 - NO_MASS <= gamma < 1.0:
        raise ValueError(f"discount = {gamma} must be 1, or less than 1 - {NO_MASS}.")
    return gamma


def in_range(
    name: str,
    value: Any,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """`value` as a float; a ValueError unless it lies in [low, high], or an end is open."""
    array = numbers(name, value)
    if array.ndim:
        raise ValueError(f"{name} must be one number, got shape {array.shape}.")
    good = (array > low if open_low else array >= low) and (
        array < high if open_high else array <= high
    )
    if not good:
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        raise ValueError(f"{name} = {array} must lie in {left}{low:g}, {high:g}{right}.")
    return float(array)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an int; a ValueError unless it is an integer in low..high."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an integer, got {value!r}.")
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in {low}..{high}, got {value}.")
    return int(value)


def devices(value: Any) -> tuple[Any, ...] | None:
    """The devices as a tuple; None for the default device, a ValueError if there are none."""
    if value is None:
        return None
    several = tuple(value)
    if not several:
        raise ValueError("devices is empty, expected at least one device or None.")
    return several


def integers(name: str, values: Any) -> np.ndarray:
    """`values` as an array of integers of any shape; a ValueError for the first that is none."""
    array = as_array(name, values)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        flat = array.ravel().tolist()
        at = next((i for i, x in enumerate(flat) if not _is_whole(x)), 0)
        index = np.unravel_index(at, array.shape)
        where = f"[{', '.join(map(str, index))}]" if index else ""
        raise ValueError(
            f"{name}{where} is {flat[at]!r}, expected integers, got dtype {array.dtype}."
        )
    return array


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def ids(name: str, values: Any, size: int) -> np.ndarray:
    """[n] `values` as int64; a ValueError unless all are integers in 0..size-1."""
    array = integers(name, values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a vector of integers, got shape {array.shape}.")
    first(name, array, (array < 0) | (array >= size), f"an id in 0..{size - 1}")
    return array.astype(np.int64)
