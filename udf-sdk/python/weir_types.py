"""The data types a function can take and return, and how they are spelled.

A type is written as a Python type hint (`int`, `Optional[str]`, `datetime.date`), as SQL text (`"DECIMAL(10, 2)"`),
or as an object whose `to_weir()` gives a `DataType` (the `pyflink` shim's `DataTypes` do).
"""
import datetime
import decimal
import re
import types
import typing


class DataType(typing.NamedTuple):
    """A type of the contract: `kind` is its case in the WIT variant `data-type`, in snake case."""

    kind: str
    precision: int = 0
    scale: int = 0

    def __str__(self):
        if self.kind == "decimal":
            return f"DECIMAL({self.precision}, {self.scale})"
        if self.kind == "timestamp":
            return f"TIMESTAMP({self.precision})"
        return _SQL_SPELLING[self.kind]


ANY = DataType("any")

_SQL_SPELLING = {
    "any": "ANY",
    "boolean": "BOOLEAN",
    "int32": "INT",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "utf8": "STRING",
    "binary": "BYTES",
    "date": "DATE",
}

_KIND_OF_SQL_NAME = {
    "BOOLEAN": "boolean", "BOOL": "boolean",
    "TINYINT": "int32", "SMALLINT": "int32", "INT": "int32", "INTEGER": "int32",
    "BIGINT": "int64",
    "FLOAT": "float64", "REAL": "float64", "DOUBLE": "float64", "DOUBLE PRECISION": "float64",
    "STRING": "utf8", "VARCHAR": "utf8", "CHAR": "utf8",
    "BYTES": "binary", "VARBINARY": "binary", "BINARY": "binary",
    "DATE": "date",
    "TIMESTAMP": "timestamp", "TIMESTAMP WITHOUT TIME ZONE": "timestamp",
    "DECIMAL": "decimal", "DEC": "decimal", "NUMERIC": "decimal",
    "ANY": "any",
}

_OF_HINT = {
    bool: DataType("boolean"),
    int: DataType("int64"),
    float: DataType("float64"),
    str: DataType("utf8"),
    bytes: DataType("binary"),
    datetime.date: DataType("date"),
    datetime.datetime: DataType("timestamp", 6),
    decimal.Decimal: DataType("decimal", 38, 18),
    typing.Any: ANY,
}

_SQL_TYPE = re.compile(r"([A-Z]+)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*((?:[A-Z]+\s*)*)")


def from_sql(text):
    """`"DECIMAL(10, 2)"`, `"STRING NOT NULL"`, … as a `DataType`; `TypeError` says which part is not understood."""
    found = _SQL_TYPE.fullmatch(text.strip().upper())
    if not found:
        raise TypeError(f"'{text}' is not a type a function can have; {_what_exists()}")
    name, first, second, rest = found.groups()
    rest = re.sub(r"\s*\b(NOT )?NULL$", "", rest.strip())
    kind = _KIND_OF_SQL_NAME.get(f"{name} {rest}".strip())
    if kind is None:
        raise TypeError(f"'{text}' is not a type a function can have; {_what_exists()}")
    if kind == "timestamp":
        return checked(DataType(kind, 6 if first is None else int(first)))
    if kind == "decimal":
        return checked(DataType(kind, 10 if first is None else int(first), int(second or 0)))
    return DataType(kind)


def checked(data_type):
    """The same type, or `TypeError` if its digits are out of range."""
    kind, precision, scale = data_type
    if kind == "timestamp" and precision > 6:
        raise TypeError(f"TIMESTAMP({precision}): a timestamp has at most 6 digits of the second")
    if kind == "decimal" and not (1 <= precision <= 38 and scale <= precision):
        raise TypeError(f"DECIMAL({precision}, {scale}): precision is 1 to 38 and scale 0 to precision")
    return data_type


def from_any_spelling(spelling):
    """A type spelled in any of the ways the module's text names, as `(DataType, may_be_null)`."""
    if isinstance(spelling, DataType):
        return spelling, True
    if isinstance(spelling, str):
        return from_sql(spelling), True
    if hasattr(spelling, "to_weir"):
        return spelling.to_weir(), True
    return _from_hint(spelling)


def _from_hint(hint):
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        inner, *notes = typing.get_args(hint)
        spelled = next((note for note in notes if isinstance(note, (str, DataType))), None)
        data_type, nullable = _from_hint(inner)
        return (from_any_spelling(spelled)[0] if spelled else data_type), nullable
    if origin in (typing.Union, types.UnionType):
        cases = typing.get_args(hint)
        named = [case for case in cases if case is not type(None)]
        if len(named) == 1:
            return _from_hint(named[0])[0], len(named) < len(cases)
    try:
        data_type = _OF_HINT[hint]
    except (KeyError, TypeError):
        shown = getattr(hint, "__name__", None) or str(hint)
        raise TypeError(f"the hint '{shown}' has no counterpart in SQL; {_what_exists()}") from None
    return data_type, data_type is ANY


def _what_exists():
    return (
        "hints: bool, int, float, str, bytes, datetime.date, datetime.datetime, decimal.Decimal, Optional of these; "
        "SQL: BOOLEAN, INT, BIGINT, DOUBLE, STRING, BYTES, DATE, TIMESTAMP(0..6), DECIMAL(p, s)"
    )
