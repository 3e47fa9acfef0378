q = "SELECT x FROM (VALUES (1), (2), (-1)) AS t (x) WHERE x IN (" + ", ".join(str(i) for i in range(10000)) + ")"
open("job.sql", "w").write("CREATE TABLE dst (x INT) WITH ('connector' = 'print');\nINSERT INTO dst " + q + ";\n")
