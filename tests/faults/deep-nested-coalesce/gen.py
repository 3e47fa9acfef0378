q = "SELECT " + "COALESCE(" * 60 + "x" + ", 1)" * 60 + " FROM (VALUES (1)) AS t (x)"
open("job.sql", "w").write(q + ";\n")
