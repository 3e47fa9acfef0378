"""Functions as PyFlink users write them."""
from pyflink.common import Row
from pyflink.table import DataTypes, ScalarFunction
from pyflink.table.udf import udf


@udf(result_type=DataTypes.STRING())
def greet(name):
    return "hello " + name


add = udf(lambda i, j: i + j, result_type=DataTypes.BIGINT())


class Hash(ScalarFunction):
    def open(self, function_context):
        self.factor = 31

    def eval(self, text):
        value = 0
        for c in text:
            value = (value * self.factor + ord(c)) % 1000003
        return value


hash_text = udf(Hash(), result_type=DataTypes.BIGINT())


@udf(result_type=DataTypes.ROW([DataTypes.FIELD("zone", DataTypes.STRING()), DataTypes.FIELD("hours", DataTypes.ARRAY(DataTypes.INT()))]))
def hours(moment, zones):
    from zoneinfo import ZoneInfo

    return Row(zone=zones[0], hours=[moment.astimezone(ZoneInfo(z)).hour for z in zones])


@udf(result_type="ROW<a TINYINT, b SMALLINT, c FLOAT, d TIME(3), e DECIMAL(4, 2), f MAP<STRING, DATE>>")
def same(a, b, c, d, e, f):
    return a, b, c, d, e, f


@udf(result_type=DataTypes.BIGINT(), name="only for display")
def whole(x):
    return x


also_whole = whole
