-- what: U& with UESCAPE
CREATE TABLE sink (`EXPR$0` CHAR(4), `EXPR$1` CHAR(2), `EXPR$2` CHAR(2), `EXPR$3` CHAR(4), `EXPR$4` INT) WITH ('connector' = 'print');
INSERT INTO sink
SELECT 'it''s', U&'\00fc\4e2d', U&'x!0041' UESCAPE '!', 'a\nb', CHAR_LENGTH('a\nb');
