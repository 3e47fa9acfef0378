-- what: rows with NULL among rows of IN
CREATE TABLE sales (id INT, region STRING, product STRING, qty INT, price DECIMAL(10, 2), discount DOUBLE, customer STRING, `day` DATE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE sink (`id` INT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT id FROM sales WHERE (id, region) NOT IN ((1, 'north'), (2, 'south'));
