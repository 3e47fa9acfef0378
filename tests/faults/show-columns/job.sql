CREATE TABLE t (id INT, a STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE VIEW vv AS SELECT id AS number FROM t;
SHOW COLUMNS FROM t LIKE 'i%';
SHOW COLUMNS IN vv;
SHOW TABLES LIKE '%v';
SHOW TABLES NOT LIKE '%v';
