q = "SELECT CASE " + " ".join(f"WHEN x = {i} THEN {i}" for i in range(3000)) + " END FROM (VALUES (1), (2)) AS t (x)"
open("job.sql", "w").write("CREATE TABLE dst (x INT) WITH ('connector' = 'print');\nINSERT INTO dst " + q + ";\n")
