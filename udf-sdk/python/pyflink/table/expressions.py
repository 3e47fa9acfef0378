"""Names of `pyflink.table.expressions` that can be imported. See `pyflink._absent`."""
from pyflink._absent import absent

__getattr__ = absent(__name__, "call call_sql coalesce col concat lit null_of row row_interval to_date to_timestamp")
