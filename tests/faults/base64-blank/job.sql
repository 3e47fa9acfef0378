CREATE TABLE dst (v STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT FROM_BASE64('Y Q==');
