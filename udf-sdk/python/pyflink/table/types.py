"""`DataTypes`, by which PyFlink names SQL types."""
import weir_types


class DataType:
    """A SQL type. A type that functions in Weir cannot have is rejected when a function uses it."""

    def __init__(self, text, nullable=True):
        self._text = text
        self._nullable = nullable

    def not_null(self):
        return DataType(self._text, False)

    def nullable(self):
        return DataType(self._text, True)

    def to_weir(self):
        """The `weir_types.DataType`. Raises `TypeError` if functions in Weir cannot have the type."""
        return weir_types.from_sql(self._text)

    def __eq__(self, other):
        return isinstance(other, DataType) and (self._text, self._nullable) == (other._text, other._nullable)

    def __hash__(self):
        return hash((self._text, self._nullable))

    def __repr__(self):
        return self._text if self._nullable else f"{self._text} NOT NULL"


class _Field:
    """A field of a row type."""

    def __init__(self, name, data_type):
        self._name, self._type = name, data_type

    def text(self):
        """The field in SQL."""
        return f"`{self._name.replace('`', '``')}` {self._type!r}"


def _plain(text):
    return staticmethod(lambda nullable=True: DataType(text, nullable))


def _refused(text):
    return staticmethod(lambda *_args, **_kwargs: DataType(text))


class DataTypes:
    """Functions that create types, with the names and parameters of PyFlink."""

    NULL = _refused("NULL")
    BOOLEAN = _plain("BOOLEAN")
    TINYINT = _plain("TINYINT")
    SMALLINT = _plain("SMALLINT")
    INT = _plain("INT")
    BIGINT = _plain("BIGINT")
    FLOAT = _plain("FLOAT")
    DOUBLE = _plain("DOUBLE")
    STRING = _plain("STRING")
    BYTES = _plain("BYTES")
    DATE = _plain("DATE")

    @staticmethod
    def CHAR(length, nullable=True):
        return DataType(f"CHAR({length})", nullable)

    @staticmethod
    def VARCHAR(length, nullable=True):
        return DataType(f"VARCHAR({length})", nullable)

    @staticmethod
    def BINARY(length, nullable=True):
        return DataType(f"BINARY({length})", nullable)

    @staticmethod
    def VARBINARY(length, nullable=True):
        return DataType(f"VARBINARY({length})", nullable)

    @staticmethod
    def DECIMAL(precision, scale, nullable=True):
        return DataType(f"DECIMAL({precision}, {scale})", nullable)

    @staticmethod
    def TIMESTAMP(precision=6, nullable=True):
        return DataType(f"TIMESTAMP({precision})", nullable)

    @staticmethod
    def TIME(precision=0, nullable=True):
        return DataType(f"TIME({precision})", nullable)

    @staticmethod
    def TIMESTAMP_LTZ(precision=6, nullable=True):
        return DataType(f"TIMESTAMP_LTZ({precision})", nullable)

    TIMESTAMP_WITH_LOCAL_TIME_ZONE = TIMESTAMP_LTZ

    @staticmethod
    def ARRAY(element_type, nullable=True):
        return DataType(f"ARRAY<{element_type!r}>", nullable)

    @staticmethod
    def MAP(key_type, value_type, nullable=True):
        return DataType(f"MAP<{key_type!r}, {value_type!r}>", nullable)

    @staticmethod
    def ROW(row_fields=(), nullable=True):
        fields = [f if isinstance(f, _Field) else _Field(f"f{i}", f) for i, f in enumerate(row_fields)]
        return DataType(f"ROW<{', '.join(f.text() for f in fields)}>", nullable)

    @staticmethod
    def FIELD(name, data_type, description=None):
        return _Field(name, data_type)

    INTERVAL = _refused("INTERVAL")
    LIST_VIEW = _refused("LIST_VIEW")
    MAP_VIEW = _refused("MAP_VIEW")
    MULTISET = _refused("MULTISET")
