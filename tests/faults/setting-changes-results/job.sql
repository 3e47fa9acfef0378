SET 'table.exec.legacy-cast-behaviour' = 'enabled';
SELECT CAST('x' AS INT);
