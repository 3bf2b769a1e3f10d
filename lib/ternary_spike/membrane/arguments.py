"""What a constructor's arguments may be: numbers, whole numbers and flags, and never a tensor in their place."""

from numbers import Integral, Real

from torch import Tensor


def number(name: str, value: object) -> float:
    """The number as a float, whichever library it comes from. Raises ValueError, also for a tensor with one element."""
    if isinstance(value, Tensor):
        # it would be read once and never again: a parameter would look as if it were trained
        raise ValueError(
            f"{name} must be a number, not {_in_words(value)}: it is a constant and never trained; pass value.item(), "
            "and for something to train use TrainableTernaryLIF, whose amplitude is a parameter"
        )
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, not {_in_words(value)}")
    return float(value)


def whole(name: str, value: object) -> int:
    """The whole number from 1 as an int. Raises ValueError."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, not {_in_words(value)}")
    return int(value)


def flag(name: str, value: object) -> bool:
    """The flag. Raises ValueError: a text such as 'no' would count as true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {_in_words(value)}")
    return value


def _in_words(value: object) -> str:
    return f"a tensor ({type(value).__name__})" if isinstance(value, Tensor) else repr(value)
