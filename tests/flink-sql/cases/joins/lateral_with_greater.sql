-- what: a LATERAL aggregation by another comparison than =
CREATE TABLE employees (id INT, name STRING, manager INT, dept STRING, salary INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/employees.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`id` INT, `n` BIGINT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT e.id, t.n FROM employees e, LATERAL (SELECT COUNT(*) n FROM employees x WHERE x.salary > e.salary) t;
