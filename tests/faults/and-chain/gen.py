q = "SELECT x FROM (VALUES (1), (2)) AS t (x) WHERE " + " AND ".join(f"x <> {i+5}" for i in range(10000))
open("job.sql", "w").write("CREATE TABLE dst (x INT) WITH ('connector' = 'print');\nINSERT INTO dst " + q + ";\n")
