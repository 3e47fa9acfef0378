-- what: E'…'
CREATE TABLE sink (`EXPR$0` CHAR(3)) WITH ('connector' = 'print');
INSERT INTO sink
SELECT E'a\tb';
