q = "SELECT * FROM (" * 3000 + "SELECT 1 AS x" + ")" * 3000
open("job.sql", "w").write(q + ";\n")
