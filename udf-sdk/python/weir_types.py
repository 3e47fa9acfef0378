"""The data types of arguments and results, and the ways to write them.

A type is written as a Python type hint (`int`, `Optional[str]`, `datetime.date`), as SQL text (`"DECIMAL(10, 2)"`,
`"ARRAY<STRING>"`), or as an object whose method `to_weir()` returns a `DataType`, such as those of `pyflink.table.DataTypes`.
"""
import datetime
import decimal
import re
import types
import typing


class DataType(typing.NamedTuple):
    """A data type. `kind` is the name of its case in the WIT variant `data-type`, in snake case. The kinds `array`, `map` and
    `row` are the case `nested` there."""

    kind: str
    precision: int = 0
    scale: int = 0
    #: the types within: of an array its element, of a map its key and value, of a row its fields
    parts: tuple = ()
    #: the names of the fields of a row
    names: tuple = ()

    def __str__(self):
        if self.kind == "decimal":
            return f"DECIMAL({self.precision}, {self.scale})"
        if self.kind in ("time", "timestamp", "timestamp_ltz"):
            return f"{self.kind.upper()}({self.precision})"
        if self.kind == "row":
            fields = (f"`{name.replace('`', '``')}` {part}" for name, part in zip(self.names, self.parts))
            return f"ROW<{', '.join(fields)}>"
        if self.parts:
            return f"{self.kind.upper()}<{', '.join(map(str, self.parts))}>"
        return _SQL_SPELLING[self.kind]


ANY = DataType("any")

_SQL_SPELLING = {
    "any": "ANY",
    "boolean": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INT",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "utf8": "STRING",
    "binary": "BYTES",
    "date": "DATE",
}

_KIND_OF_SQL_NAME = {
    "BOOLEAN": "boolean", "BOOL": "boolean",
    "TINYINT": "int8", "SMALLINT": "int16", "INT": "int32", "INTEGER": "int32",
    "BIGINT": "int64",
    "FLOAT": "float32", "REAL": "float32", "DOUBLE": "float64", "DOUBLE PRECISION": "float64",
    "STRING": "utf8", "VARCHAR": "utf8", "CHAR": "utf8",
    "BYTES": "binary", "VARBINARY": "binary", "BINARY": "binary",
    "DATE": "date",
    "TIME": "time", "TIME WITHOUT TIME ZONE": "time",
    "TIMESTAMP": "timestamp", "TIMESTAMP WITHOUT TIME ZONE": "timestamp",
    "TIMESTAMP_LTZ": "timestamp_ltz", "TIMESTAMP WITH LOCAL TIME ZONE": "timestamp_ltz",
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
    datetime.time: DataType("time", 3),
    datetime.datetime: DataType("timestamp", 6),
    decimal.Decimal: DataType("decimal", 38, 18),
    typing.Any: ANY,
}

_TOKEN = re.compile(r"\s*(?:(`(?:[^`]|``)*`|\w+)|([<>(),]))")


class _Tokens:
    """The words and signs in the text of a type, which are taken one after the other."""

    def __init__(self, text):
        self.text, self.all, at = text, [], 0
        stripped = text.rstrip()
        while at < len(stripped):
            found = _TOKEN.match(stripped, at)
            if not found:
                raise self.wrong()
            self.all.append(found[1] or found[2])
            at = found.end()

    def wrong(self):
        return TypeError(f"'{self.text}' is not a type a function can have; {_what_exists()}")

    def peek(self):
        return self.all[0].upper() if self.all else ""

    def next(self):
        if not self.all:
            raise self.wrong()
        return self.all.pop(0)

    def take(self, *words):
        """Whether these words come next. If so, they are taken."""
        if [word.upper() for word in self.all[: len(words)]] != list(words):
            return False
        del self.all[: len(words)]
        return True

    def want(self, sign):
        if not self.take(sign):
            raise self.wrong()

    def number(self):
        word = self.next()
        if not word.isdigit():
            raise self.wrong()
        return int(word)


def from_sql(text):
    """Parses a type in SQL, such as `"DECIMAL(10, 2)"` or `"ARRAY<STRING NOT NULL>"`. Raises `TypeError` if it is invalid."""
    tokens = _Tokens(text)
    data_type = _parsed(tokens)
    if tokens.all:
        raise tokens.wrong()
    return data_type


def _parsed(tokens):
    name = tokens.next().upper()
    if name == "ARRAY":
        data_type = DataType("array", parts=tuple(_listed(tokens, "<", ">", _parsed, 1)))
    elif name == "MAP":
        data_type = DataType("map", parts=tuple(_listed(tokens, "<", ">", _parsed, 2)))
    elif name == "ROW":
        signs = ("(", ")") if tokens.peek() == "(" else ("<", ">")
        fields = list(_listed(tokens, *signs, lambda t: (_name(t.next()), _parsed(t))))
        data_type = DataType("row", parts=tuple(t for _, t in fields), names=tuple(n for n, _ in fields))
    else:
        if name == "DOUBLE":
            tokens.take("PRECISION")
        digits = list(_listed(tokens, "(", ")", _Tokens.number)) if tokens.peek() == "(" else []
        for words in (("WITHOUT", "TIME", "ZONE"), ("WITH", "LOCAL", "TIME", "ZONE")):
            if tokens.take(*words):
                name = " ".join((name, *words))
        data_type = _plain(name, digits, tokens)
    while tokens.take("ARRAY"):
        data_type = DataType("array", parts=(data_type,))
    if not tokens.take("NOT", "NULL"):
        tokens.take("NULL")
    return data_type


def _name(word):
    return word[1:-1].replace("``", "`") if word.startswith("`") else word


def _listed(tokens, opens, closes, read, count=None):
    tokens.want(opens)
    found = [] if tokens.peek() == closes else [read(tokens)]
    while tokens.take(","):
        found.append(read(tokens))
    tokens.want(closes)
    if count is not None and len(found) != count:
        raise tokens.wrong()
    return found


def _plain(name, digits, tokens):
    kind = _KIND_OF_SQL_NAME.get(name)
    most = {"utf8": 1, "binary": 1, "time": 1, "timestamp": 1, "timestamp_ltz": 1, "decimal": 2}.get(kind, 0)
    if kind is None or len(digits) > most:
        raise tokens.wrong()
    if kind == "time":
        return checked(DataType(kind, digits[0] if digits else 0))
    if kind in ("timestamp", "timestamp_ltz"):
        return checked(DataType(kind, digits[0] if digits else 6))
    if kind == "decimal":
        precision, scale = [*digits, *(10, 0)[len(digits):]]
        return checked(DataType(kind, precision, scale))
    return DataType(kind)


def checked(data_type):
    """Returns the same type. Raises `TypeError` if its precision or scale is out of range."""
    kind, precision, scale = data_type[:3]
    if kind in ("timestamp", "timestamp_ltz") and precision > 6:
        raise TypeError(f"{data_type}: a timestamp of a function has at most 6 digits of the second")
    if kind == "time" and precision > 9:
        raise TypeError(f"{data_type}: a time has at most 9 digits of the second")
    if kind == "decimal" and not (1 <= precision <= 38 and scale <= precision):
        raise TypeError(f"{data_type}: precision is 1 to 38 and scale 0 to precision")
    return data_type


def from_any_spelling(spelling):
    """Parses a type in any of the forms of this module. Returns `(DataType, may_be_null)`; raises `TypeError` if it is invalid."""
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
    nested = _of_nested_hint(origin, typing.get_args(hint))
    if nested is not None:
        return nested, False
    try:
        data_type = _OF_HINT[hint]
    except (KeyError, TypeError):
        shown = getattr(hint, "__name__", None) or str(hint)
        raise TypeError(f"the hint '{shown}' has no counterpart in SQL; {_what_exists()}") from None
    return data_type, data_type is ANY


def _of_nested_hint(origin, arguments):
    """The type of a hint such as `list[int]`, `dict[str, float]` or `tuple[int, str]`; None for other hints.

    A tuple is a row with the fields f0, f1, and so on.
    """
    if origin is list and len(arguments) == 1:
        return DataType("array", parts=(from_any_spelling(arguments[0])[0],))
    if origin is dict and len(arguments) == 2:
        return DataType("map", parts=tuple(from_any_spelling(a)[0] for a in arguments))
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        parts = tuple(from_any_spelling(a)[0] for a in arguments)
        return DataType("row", parts=parts, names=tuple(f"f{i}" for i in range(len(parts))))
    return None


def _what_exists():
    return (
        "hints: bool, int, float, str, bytes, datetime.date, datetime.time, datetime.datetime, decimal.Decimal, list[...], "
        "dict[..., ...], tuple[...], Optional of these; SQL: BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, STRING, "
        "BYTES, DATE, TIME, TIMESTAMP(0..6), TIMESTAMP_LTZ(0..6), DECIMAL(p, s), ARRAY<...>, MAP<..., ...>, ROW<name type, ...>"
    )
