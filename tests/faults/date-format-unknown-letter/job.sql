CREATE TABLE dst (id INT, a TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO dst SELECT 1, TO_TIMESTAMP('2021-01-02', 'yyyy-MM-dd b');
