CREATE TABLE m (id INT, a STRING, tb STRING METADATA FROM 'table') WITH ('connector' = 'filesystem', 'path' = 'm.json', 'format' = 'maxwell-json');
CREATE TABLE o (id INT, a STRING, tb STRING METADATA FROM 'table') WITH ('connector' = 'filesystem', 'path' = 'o.json', 'format' = 'ogg-json');
CREATE TABLE dst (id INT, a STRING, tb STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT * FROM m UNION ALL SELECT * FROM o;
