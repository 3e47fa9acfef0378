"""Names of `pyflink.common` that can be imported. See `pyflink._absent`."""
from pyflink._absent import absent
from weir_nested import Row

__all__ = ["Row"]

__getattr__ = absent(
    __name__, "Configuration Duration ExecutionMode RowKind SimpleStringSchema Time Types WatermarkStrategy"
)
