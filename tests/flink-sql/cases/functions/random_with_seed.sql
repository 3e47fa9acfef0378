-- what: random numbers with a seed
CREATE TABLE sink (`EXPR$0` DOUBLE, `EXPR$1` INT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT RAND(42), RAND_INTEGER(42, 1000);
