"""The province of an address, asked of a service over HTTP, as in the PyFlink introduction: its imports run unchanged.

The service answers in GBK with a JSON object inside a call of JavaScript. The job names the service twice: as an argument
here, and in the grant that lets the function reach it.
"""
import json
import re
from urllib.parse import quote_plus
from urllib.request import urlopen

from pyflink.table import DataTypes
from pyflink.table.udf import udf


@udf(result_type=DataTypes.STRING())
def ip_to_province(service, address):
    with urlopen("http://%s/ipJson.jsp?ip=%s" % (service, quote_plus(address))) as answer:
        text = answer.read().decode("gbk")
    found = re.search(r"\{[^{}]+\}", text)
    if not found:
        raise ValueError("the service answered " + text[:60])
    region = json.loads(found.group())
    return region["pro"] or region["err"]
