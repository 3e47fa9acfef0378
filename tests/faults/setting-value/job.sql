SET 'table.exec.state.ttl' = 'one day';
SELECT 1;
