"""Functions as PyFlink users write them."""
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
