q = "SELECT " + "ABS(" * 5000 + "1" + ")" * 5000
open("job.sql", "w").write(q + ";\n")
