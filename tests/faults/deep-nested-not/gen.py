q = "SELECT " + "NOT " * 20000 + "TRUE"
open("job.sql", "w").write(q + ";\n")
