CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT 1, DATE_FORMAT(TIMESTAMP '2021-01-02 03:04:05', 'yyyy-MM-dd HH:mm z');
