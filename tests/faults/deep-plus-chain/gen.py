q = "SELECT " + " + ".join(["x"] * 5000) + " FROM (VALUES (1)) AS t (x)"
open("job.sql", "w").write(q + ";\n")
