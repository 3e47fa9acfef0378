q = "SELECT " + "CASE " * 60 + "x" + " WHEN 1 THEN 1 WHEN 2 THEN 2 END" * 60 + " FROM (VALUES (1)) AS t (x)"
open("job.sql", "w").write(q + ";\n")
