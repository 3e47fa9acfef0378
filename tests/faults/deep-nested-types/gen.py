q = "SELECT CAST(NULL AS " + "ARRAY<" * 20000 + "INT" + ">" * 20000 + ")"
open("job.sql", "w").write(q + ";\n")
