q = "SELECT COALESCE(" + "CAST(NULL AS INT), " * 3000 + "x) FROM (VALUES (1), (2)) AS t (x)"
open("job.sql", "w").write("CREATE TABLE dst (x INT) WITH ('connector' = 'print');\nINSERT INTO dst " + q + ";\n")
