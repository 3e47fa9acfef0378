"""Converts values of ARRAY, MAP and ROW between Python and the JSON of the component contract."""
import base64
import datetime
import decimal
import functools
import json
import math

_UTC = datetime.timezone.utc
_HALF_EVEN = decimal.Context(prec=80, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, rounding=decimal.ROUND_HALF_EVEN)
_RANGES = {"int8": 1 << 7, "int16": 1 << 15, "int32": 1 << 31, "int64": 1 << 63}


class Row:
    """A row, such as `Row(1, "x")` or `Row(a=1, b="x")`.

    Its values can be accessed by position (`row[0]`) and by name (`row.a`, `row["a"]`), and can be iterated.
    """

    __slots__ = ("_values", "_fields")

    def __init__(self, *values, **named):
        if values and named:
            raise ValueError("a Row takes its values by position or by name, not both")
        self._values = list(named.values()) if named else list(values)
        self._fields = list(named) if named else None

    def set_field_names(self, names):
        """Sets the names of the fields."""
        self._fields = list(names)

    def get_fields_by_names(self, names):
        """The values of the fields with these names. Raises `KeyError` if there is no such field."""
        return [self[name] for name in names]

    def as_dict(self, recursive=False):
        """The values by name, with `recursive` also those of rows within it. Raises `TypeError` for a row without names."""
        if self._fields is None:
            raise TypeError("a Row without names has no dict")
        plain = (lambda v: v.as_dict(True) if isinstance(v, Row) else v) if recursive else (lambda v: v)
        return {name: plain(value) for name, value in zip(self._fields, self._values)}

    def _place(self, key):
        if isinstance(key, str):
            try:
                return (self._fields or []).index(key)
            except ValueError:
                raise KeyError(key) from None
        return key

    def __getitem__(self, key):
        return self._values[self._place(key)]

    def __setitem__(self, key, value):
        self._values[self._place(key)] = value

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __contains__(self, item):
        return item in self._values

    def __eq__(self, other):
        return isinstance(other, Row) and self._values == other._values

    def __hash__(self):
        return hash(tuple(self._values))

    def __repr__(self):
        if self._fields is None:
            return f"Row({', '.join(map(repr, self._values))})"
        return f"Row({', '.join(f'{n}={v!r}' for n, v in zip(self._fields, self._values))})"


# --- in -----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def reader(data_type):
    """A function that converts decoded JSON to a Python value. None if the decoded JSON is the value itself."""
    kind = data_type.kind
    if kind == "array":
        of = reader(data_type.parts[0])
        return None if of is None else lambda v: [None if x is None else of(x) for x in v]
    if kind == "map":
        key, value = (_or_same(reader(part)) for part in data_type.parts)
        return lambda v: {key(k): value(x) for k, x in v}
    if kind == "row":
        return functools.partial(_read_row, list(data_type.names), [_or_same(reader(part)) for part in data_type.parts])
    return _READERS.get(kind)


def _or_same(read):
    if read is None:
        return lambda v: v
    return lambda v: None if v is None else read(v)


def _read_row(names, readers, values):
    row = Row(*(read(value) for read, value in zip(readers, values)))
    row.set_field_names(names)
    return row


def _read_zoned(text):
    return datetime.datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=_UTC)


_READERS = {
    "binary": base64.b64decode,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timestamp": datetime.datetime.fromisoformat,
    "timestamp_ltz": _read_zoned,
    "decimal": decimal.Decimal,
    "float32": float,
    "float64": float,
}


# --- out ----------------------------------------------------------------------------------------------------------


def text_of(value, data_type):
    """The JSON of a value of a type. Raises `TypeError`, `ValueError` or `OverflowError` if the value does not fit the type."""
    return json.dumps(plain(value, data_type), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def plain(value, data_type):
    """A value as one that `json.dumps` accepts."""
    if value is None:
        return None
    kind = data_type.kind
    if kind == "array":
        if isinstance(value, (str, bytes, dict)):
            raise TypeError(f"{value!r} is no list")
        part = data_type.parts[0]
        return [plain(x, part) for x in value]
    if kind == "map":
        key, part = data_type.parts
        return [[plain(k, key), plain(x, part)] for k, x in value.items()]
    if kind == "row":
        if isinstance(value, dict):
            value = [value.get(name) for name in data_type.names]
        elif isinstance(value, (str, bytes)):
            raise TypeError(f"{value!r} is no row")
        values = list(value)
        if len(values) != len(data_type.parts):
            raise ValueError(f"{len(values)} values for the {len(data_type.parts)} fields of {data_type}")
        return [plain(x, part) for x, part in zip(values, data_type.parts)]
    return _WRITERS[kind](value, data_type)


def whole(value):
    """Converts a number to an integer. The fraction is cut off."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, decimal.Decimal)) and math.isfinite(value):
        return int(value)
    raise TypeError(f"{value!r} is no number")


def _integer(value, data_type):
    number, bound = whole(value), _RANGES[data_type.kind]
    if not -bound <= number < bound:
        raise OverflowError(f"{number} is beyond {data_type}")
    return number


def _float(value, _data_type):
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{value!r} is no number")
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _checked(wanted, write):
    def checked(value, _data_type):
        if not isinstance(value, wanted):
            raise TypeError(f"{value!r} is of type {type(value).__name__}, not {wanted.__name__}")
        return write(value)

    return checked


def rounded(value, scale):
    """Rounds a number to a decimal with `scale` digits after the point, half to even."""
    if not isinstance(value, decimal.Decimal):
        value = decimal.Decimal(whole(value) if isinstance(value, int) else repr(value) if isinstance(value, float) else value)
    if not value.is_finite():
        raise ValueError(f"{value} is no decimal number")
    return _HALF_EVEN.quantize(value, decimal.Decimal((0, (1,), -scale)))


def _decimal(value, data_type):
    number = rounded(value, data_type.scale)
    if len(number.as_tuple().digits) > data_type.precision:
        raise OverflowError(f"{value} does not fit {data_type}")
    return f"{number:f}"


def in_utc(value):
    """Converts a `datetime` to UTC, without a zone. One that has no zone is in UTC already."""
    return value.astimezone(_UTC).replace(tzinfo=None) if value.tzinfo is not None else value


_WRITERS = {
    "boolean": _checked(bool, bool),
    "int8": _integer,
    "int16": _integer,
    "int32": _integer,
    "int64": _integer,
    "float32": _float,
    "float64": _float,
    "utf8": _checked(str, str),
    "binary": lambda value, _type: base64.b64encode(bytes(memoryview(value))).decode("ascii"),
    "date": _checked(datetime.date, lambda v: f"{v.year:04}-{v.month:02}-{v.day:02}"),
    "time": _checked(datetime.time, lambda v: v.replace(tzinfo=None).isoformat()),
    "timestamp": _checked(datetime.datetime, lambda v: v.replace(tzinfo=None).isoformat()),
    "timestamp_ltz": _checked(datetime.datetime, lambda v: in_utc(v).isoformat() + "Z"),
    "decimal": _decimal,
}
