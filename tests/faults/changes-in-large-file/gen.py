with open("in.json", "w") as f:
    pad = "x" * 300
    for i in range(60000):
        f.write('{"before":null,"after":{"id":%d,"a":"%s"},"op":"c"}\n' % (i, pad))
    for i in range(60000):
        if i % 20000: f.write('{"before":{"id":%d,"a":"%s"},"after":null,"op":"d"}\n' % (i, pad))
