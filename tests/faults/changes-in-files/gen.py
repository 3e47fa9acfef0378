import os
os.makedirs("in")
with open("in/part-2", "w") as f:
    for i in range(20000): f.write('{"data":[{"id":"%d","a":"old"}],"type":"INSERT"}\n' % i)
with open("in/part-10", "w") as f:
    for i in range(20000):
        f.write('{"data":[{"id":"%d","a":"new"}],"old":[{"a":"old"}],"type":"UPDATE"}\n' % i)
with open("in/part-11", "w") as f:
    for i in range(2, 20000): f.write('{"data":[{"id":"%d","a":"new"}],"type":"DELETE"}\n' % i)
