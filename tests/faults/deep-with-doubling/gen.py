q = "WITH a0 AS (SELECT 1 AS x)" + "".join(f", a{i+1} AS (SELECT * FROM a{i} UNION ALL SELECT * FROM a{i})" for i in range(40)) + " SELECT COUNT(*) FROM a40"
open("job.sql", "w").write(q + ";\n")
