"""`udf`, `ScalarFunction` and related classes.

As in PyFlink, an argument may be None. Types come from `result_type` and `input_types`, not from type hints. A function
is deterministic unless it is declared otherwise. The name of a function in SQL is that of the variable that holds it.
"""
import functools

import weir_types
import weir_udf
from pyflink._absent import absent

__all__ = ["FunctionContext", "ScalarFunction", "UserDefinedFunction", "udf", "udtf", "udaf", "udtaf"]

__getattr__ = absent(
    __name__, "AggregateFunction AsyncScalarFunction AsyncTableFunction ImperativeAggregateFunction "
    "TableAggregateFunction TableFunction"
)


class FunctionContext:
    """The argument of `open`."""

    def __init__(self, job_parameters=None):
        self._metric_group = MetricGroup()
        self._job_parameters = job_parameters or {}

    def get_metric_group(self):
        return self._metric_group

    def get_job_parameter(self, key, default_value):
        return self._job_parameters.get(key, default_value)


class MetricGroup:
    """Metrics that can be registered and updated, but are not reported. Weir counts calls and errors itself."""

    def add_group(self, name, extra=None):
        return self

    def counter(self, name):
        return Counter()

    def gauge(self, name, obj):
        """Does nothing: `obj` is never called."""

    def meter(self, name, time_span_in_seconds=60):
        return Meter()

    def distribution(self, name):
        return Distribution()


class Counter:
    """A counter, which only the function itself can read."""

    def __init__(self):
        self._count = 0

    def inc(self, n=1):
        self._count += n

    def dec(self, n=1):
        self._count -= n

    def get_count(self):
        return self._count


class Meter:
    """A meter that only counts events."""

    def __init__(self):
        self._count = 0

    def mark_event(self, value=1):
        self._count += value

    def get_count(self):
        return self._count


class Distribution:
    """A distribution, which ignores its values."""

    def update(self, value):
        """Does nothing."""


class UserDefinedFunction:
    """The base of function classes."""

    def open(self, function_context):
        """Called once before the first row."""

    def close(self):
        """Never called in Weir, because an instance may end at any time."""

    def is_deterministic(self):
        return True


class ScalarFunction(UserDefinedFunction):
    """The base of scalar functions: `eval` is called for each row."""

    def eval(self, *args):
        raise NotImplementedError(f"{type(self).__name__} defines no eval")


class UserDefinedScalarFunctionWrapper:
    """The result of `udf`. It can be called like the function from which it was made."""

    def __init__(self, call, function):
        functools.update_wrapper(self, call, updated=())
        self._call = call
        self.__weir_udf__ = function

    def __call__(self, *args):
        return self._call(*args)


def udf(f=None, input_types=None, result_type=None, deterministic=None, name=None, func_type="general", udf_type=None):
    """Makes a scalar function from a function, a lambda, a callable object or a `ScalarFunction`. It is also a decorator.

    Raises `NotImplementedError` for what does not run in Weir, and `TypeError` for types that are missing or invalid.
    """
    if (udf_type or func_type) != "general":
        raise NotImplementedError(
            f"func_type='{udf_type or func_type}': pandas does not run inside a component; leave func_type out and write "
            "the function for one row (Weir passes rows in batches all the same)"
        )
    if f is None:
        return functools.partial(udf, input_types=input_types, result_type=result_type, deterministic=deterministic, name=name)
    if isinstance(f, UserDefinedFunction) and not isinstance(f, ScalarFunction):
        raise NotImplementedError(f"{type(f).__name__}: only scalar functions run in Weir")
    is_class = isinstance(f, ScalarFunction)
    call = f.eval if is_class else f
    label = name or (type(f).__name__ if is_class else getattr(f, "__name__", repr(f)))
    weir_udf.refuse_unless_plain(call)
    if result_type is None:
        raise TypeError(f"{label}: result_type is missing, as in @udf(result_type=DataTypes.STRING())")
    function = weir_udf.Function(
        call,
        None,  # in PyFlink, the name is only shown to users
        weir_udf.parameters_of(call, {}, input_types, label),
        weir_udf.typed(label, "result_type", result_type)[0],
        deterministic if deterministic is not None else f.is_deterministic() if is_class else True,
        _open_once(f) if is_class else None,
    )
    if function.result is weir_types.ANY:
        raise TypeError(f"{label}: the result must have one type, not any")
    return UserDefinedScalarFunctionWrapper(call, function)


def _open_once(instance):
    """A function that opens an instance. It is the same one each time, so that an instance of several functions is opened once."""
    hook = instance.__dict__.get("_weir_open")
    if hook is None:
        hook = instance._weir_open = lambda: instance.open(FunctionContext())
    return hook


def _only_scalar(kind):
    def refuse(*_args, **_kwargs):
        raise NotImplementedError(f"{kind}: only scalar functions (udf) run in Weir; aggregate and join in SQL")

    return refuse


udtf, udaf, udtaf = _only_scalar("udtf"), _only_scalar("udaf"), _only_scalar("udtaf")
