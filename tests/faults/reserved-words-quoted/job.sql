CREATE TABLE `select` (`from` INT, `user` STRING) WITH ('connector' = 'filesystem', 'path' = 'in.csv', 'format' = 'csv');
CREATE TABLE dst (id INT, a STRING) WITH ('connector' = 'print');
INSERT INTO dst SELECT `order`.`from` AS `where`, `user` FROM `select` AS `order`;
