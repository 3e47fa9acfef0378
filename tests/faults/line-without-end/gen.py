with open("in.json", "w") as f: f.write('{"id": 1}\n' + "x" * (40 << 20) + '{"id": 2}\n{"id": 3}\n')
with open("in.csv", "w") as f: f.write("4,a\n" + "x" * (40 << 20) + "\n5,b\n6," + "y" * (40 << 20) + ',7\n"8",c')
