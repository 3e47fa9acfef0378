"""Names of `pyflink.datastream` that can be imported. See `pyflink._absent`."""
from pyflink._absent import absent

__getattr__ = absent(
    __name__,
    "CheckpointConfig CheckpointingMode DataStream EmbeddedRocksDBStateBackend HashMapStateBackend RuntimeContext "
    "RuntimeExecutionMode StreamExecutionEnvironment TimeCharacteristic",
)
