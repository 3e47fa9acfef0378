"""Placeholders for the parts of PyFlink that only a Flink job can use.

A file that defines functions often also builds the job, below `if __name__ == "__main__":`, and imports what that needs
at its top. Such imports work. Using an imported placeholder raises an error that says what to do instead.
"""


def absent(module, names):
    """A module-level `__getattr__` that returns placeholders for the given names, separated by blanks."""
    known = frozenset(names.split())

    def __getattr__(name):
        if name in known:
            return type(name, (_Absent,), {"__module__": module})
        raise AttributeError(f"Weir's stand-in for {module} has no '{name}'")

    return __getattr__


class _AbsentType(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise _refusal(cls)


class _Absent(metaclass=_AbsentType):
    def __init__(self, *_args, **_kwargs):
        raise _refusal(type(self))


def _refusal(cls):
    return NotImplementedError(
        f"{cls.__module__}.{cls.__name__} is not there in Weir: a job is a script in SQL, and only its scalar functions "
        "are Python; keep code that runs a Flink job below if __name__ == '__main__'"
    )
