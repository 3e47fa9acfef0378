"""Names of `pyflink.common` that may be imported; see `pyflink._absent`."""
from pyflink._absent import absent

__getattr__ = absent(
    __name__, "Configuration Duration ExecutionMode Row RowKind SimpleStringSchema Time Types WatermarkStrategy"
)
