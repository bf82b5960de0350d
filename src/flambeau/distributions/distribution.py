"""`Distribution`: what all distributions share: shapes, validation, expansion, printing."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.autograd.runtime import NS
from flambeau.distributions import constraints
from flambeau.distributions._core import Size, Tensor, no_grad
from flambeau.distributions.utils import lazy_property
from flambeau.ops.dispatch import checks_values

__all__ = ["Distribution"]


def _to_be_checked(constraint: Any) -> bool:
    """Whether values are looked at: in a compiled step not where the bounds are themselves computed."""
    return NS["CAPTURE"] is None or not any(isinstance(bound, Tensor) for bound in vars(constraint).values())


@checks_values
def _check_parameter(value: Any, distribution: Any, name: str, constraint: Any) -> None:
    if not constraint.check(value).all():
        raise ValueError(
            f"{distribution!r}: parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) must satisfy "
            f"{constraint!r}, but found invalid values:\n{value}"
        )


@checks_values
def _check_value(value: Any, distribution: Any, support: Any) -> None:
    if not support.check(value).all():
        raise ValueError(
            f"{distribution!r}: the value ({type(value).__name__} of shape {tuple(value.shape)}) must lie in the "
            f"support {support!r}, but found invalid values:\n{value}"
        )


class Distribution:
    """A distribution over tensors of shape `event_shape`; `batch_shape` is that of its independent, different copies.

    Subclasses write `rsample` (or `sample`), `log_prob` and what else they have. Those of this package name the state
    that `expand` must carry over: `_tensors` (expanded), `_parts` (distributions, expanded) and `_same` (as they are).

    Args:
        batch_shape, event_shape: the shapes.
        validate_args: whether parameters and values are checked against `arg_constraints` and `support`; by default
            they are, unless Python runs with -O or `set_default_validate_args(False)` was called.

    Raises:
        ValueError: a parameter does not satisfy its constraint.
    """

    has_rsample: Any = False
    has_enumerate_support: Any = False
    _validate_args = __debug__
    _tensors: tuple[str, ...] = ()
    _parts: tuple[str, ...] = ()
    _same: tuple[str, ...] = ()
    _family: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith(f"{__package__}."):
            cls._family = cls  # a program's subclass keeps that of its parent, whose expand it inherits

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Check arguments and values from now on, or not. ValueError unless it is True or False."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args() takes True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: Any = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._validate_parameters()

    def _validate_parameters(self) -> None:
        try:
            arg_constraints = self.arg_constraints
        except NotImplementedError:
            arg_constraints = {}
            warnings.warn(
                f"{type(self).__name__} has no `arg_constraints`, so its parameters are not checked: set them to {{}} "
                "or pass validate_args=False",
                stacklevel=4,
            )
        for name, constraint in arg_constraints.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue  # not given: it will be computed of one that is
            if _to_be_checked(constraint):
                _check_parameter(getattr(self, name), self, name, constraint)

    # --- copies in other shapes ----------------------------------------------------------------------------------

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with its parameters expanded to another batch shape, without copying them.

        NotImplementedError for a subclass that has an `__init__` but no `expand` of its own.
        """
        if self._family is None:
            raise NotImplementedError(f"{type(self).__name__} does not define expand")
        new = self._get_checked_instance(self._family, _instance)
        batch_shape = Size(batch_shape)
        self._expand_into(new, batch_shape)
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _expand_into(self, new: Any, batch_shape: Any) -> None:
        mine = len(self._batch_shape)
        for name in self._tensors:
            if name in self.__dict__:
                value = self.__dict__[name]
                setattr(new, name, value.expand(batch_shape + value.shape[mine:]))
        for name in self._parts:
            part = getattr(self, name)
            setattr(new, name, part.expand(batch_shape + part.batch_shape[mine:]))
        for name in self._same:
            setattr(new, name, getattr(self, name))

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        if _instance is not None:
            return _instance
        if type(self).__init__ is not cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"{type(self).__name__} has an __init__ of its own, so it must define expand as well: that of "
                f"{cls.__name__} can't make one"
            )
        return self.__new__(type(self))

    # --- what there is to ask ------------------------------------------------------------------------------------

    @property
    def batch_shape(self) -> Any:
        """The shape of the batch of parameters."""
        return self._batch_shape

    @property
    def event_shape(self) -> Any:
        """The shape of one sample of one distribution."""
        return self._event_shape

    @property
    def arg_constraints(self) -> Any:
        """The constraint of each parameter, by name."""
        raise NotImplementedError

    @property
    def support(self) -> Any:
        """The constraint that all samples satisfy."""
        raise NotImplementedError

    @property
    def mean(self) -> Any:
        """The mean, of shape batch_shape + event_shape."""
        raise NotImplementedError

    @property
    def mode(self) -> Any:
        """The most probable value."""
        raise NotImplementedError(f"{type(self).__name__} has no mode")

    @property
    def variance(self) -> Any:
        """The variance."""
        raise NotImplementedError

    @property
    def stddev(self) -> Any:
        """The square root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Any:
        """Samples of shape sample_shape + batch_shape + event_shape, without history."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Samples as differentiable functions of the parameters. NotImplementedError unless `has_rsample`."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample: its samples are not differentiable")

    def sample_n(self, n: int) -> Any:
        """`sample((n,))`; outdated."""
        warnings.warn("sample_n(n) will be deprecated: use sample((n,))", FutureWarning, stacklevel=2)
        return self.sample(Size((n,)))

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density, or of the probability, at `value`."""
        raise NotImplementedError

    def cdf(self, value: Any) -> Any:
        """The probability of at most `value`."""
        raise NotImplementedError

    def icdf(self, value: Any) -> Any:
        """The inverse of `cdf`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Any:
        """All values of a discrete distribution along a new first dimension; over the batch only with `expand`."""
        raise NotImplementedError

    def entropy(self) -> Any:
        """The mean of -log_prob, in nats."""
        raise NotImplementedError

    def perplexity(self) -> Any:
        """exp(entropy)."""
        return self.entropy().exp()

    # --- for subclasses ------------------------------------------------------------------------------------------

    def _extended_shape(self, sample_shape: Any = ()) -> Any:
        return Size(Size(sample_shape) + self._batch_shape + self._event_shape)

    def _check(self, value: Any) -> None:
        """Raise ValueError for a value outside the support, if this distribution validates."""
        if self._validate_args:
            self._validate_sample(value)

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError(f"the value must be a Tensor, got {type(value).__name__}")
        shape, wanted = tuple(value.shape), tuple(self._batch_shape + self._event_shape)
        events = len(self._event_shape)
        if shape[len(shape) - events :] != tuple(self._event_shape):
            raise ValueError(
                f"the value's last dimensions must be {tuple(self._event_shape)}, but its shape is {shape}"
            )
        if any(i not in (1, j) and j != 1 for i, j in zip(shape[::-1], wanted[::-1], strict=False)):
            raise ValueError(f"the value's shape {shape} can't be broadcast with batch_shape + event_shape {wanted}")
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self).__name__} has no `support`, so values are not checked: pass validate_args=False",
                stacklevel=4,
            )
            return
        if _to_be_checked(support):
            _check_value(value, self, support)

    def __repr__(self) -> str:
        shown = {name: self.__dict__[name] for name in self.arg_constraints if name in self.__dict__}
        inner = ", ".join(f"{name}: {v if v.numel() == 1 else v.size()}" for name, v in shown.items())
        return f"{type(self).__name__}({inner})"
