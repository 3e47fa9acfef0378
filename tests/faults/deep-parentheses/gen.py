q = "SELECT " + "(" * 20000 + "1" + ")" * 20000
open("job.sql", "w").write(q + ";\n")
