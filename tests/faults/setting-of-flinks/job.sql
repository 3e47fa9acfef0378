SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '5 s';
SET 'taskmanager.memory.process.size' = '1g';
SET 'python.executable' = 'python3';
SET 'state.backend.type' = 'rocksdb';
SET 'execution.checkpointing.mode' = 'EXACTLY_ONCE';
SET 'pipeline.object-reuse' = 'true';
SET 'restart-strategy' = 'none';
SELECT 1;
