"""The names of `pyflink.table` that files of scalar functions use."""
from pyflink._absent import absent
from pyflink.table.types import DataType, DataTypes
from pyflink.table.udf import FunctionContext, ScalarFunction, UserDefinedFunction
from weir_nested import Row

__all__ = ["DataType", "DataTypes", "FunctionContext", "Row", "ScalarFunction", "UserDefinedFunction"]

__getattr__ = absent(
    __name__,
    "AggregateFunction BatchTableEnvironment CsvTableSink CsvTableSource EnvironmentSettings Expression ExplainDetail "
    "FormatDescriptor GroupedTable ListView MapView ResultKind RowKind Schema SqlDialect StatementSet "
    "StreamTableEnvironment Table TableAggregateFunction TableConfig TableDescriptor TableEnvironment TableFunction "
    "TableResult TableSchema",
)
