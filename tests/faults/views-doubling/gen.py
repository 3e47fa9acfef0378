T = """CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
"""
q = "CREATE VIEW v0 AS SELECT id FROM t;\n" + "".join(f"CREATE VIEW v{i+1} AS SELECT id FROM v{i} UNION ALL SELECT id FROM v{i};\n" for i in range(40))
open("job.sql", "w").write(T + q + "SELECT COUNT(*) FROM v40;\n")
