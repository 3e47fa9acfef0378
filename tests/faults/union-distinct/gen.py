q = "SELECT x FROM (" + " UNION ".join(["SELECT 1 AS x", "SELECT 2"] * 3000) + ") AS t"
open("job.sql", "w").write("CREATE TABLE dst (x INT) WITH ('connector' = 'print');\nINSERT INTO dst " + q + ";\n")
