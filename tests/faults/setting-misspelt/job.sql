SET 'table.exec.sink.not-null-enforcers' = 'DROP';
SELECT 1;
