//! Changes as Debezium writes them: a row that comes is `after` with `op` c, one that goes is `before` with `op` d. An
//! update is one of each, as Flink writes it.

use super::Encoder;
use super::json::JsonWriter;
use crate::options::TableSpec;
use weir_core::{Batch, Result};

#[derive(Clone)]
pub(crate) struct DebeziumWriter {
    rows: JsonWriter,
}

impl DebeziumWriter {
    pub fn new(table: &TableSpec) -> Result<Self> {
        Ok(DebeziumWriter { rows: JsonWriter::with_prefix(table, "debezium-json")? })
    }
}

impl Encoder for DebeziumWriter {
    fn encode(&mut self, batch: &Batch, row: usize, columns: &[usize], out: &mut Vec<u8>) -> Result<()> {
        let comes = batch.kind(row).sign() > 0;
        out.extend_from_slice(if comes { b"{\"before\":null,\"after\":" } else { b"{\"before\":" });
        self.rows.encode(batch, row, columns, out)?;
        // The row ends with the line break of its format.
        out.pop();
        out.extend_from_slice(if comes { b",\"op\":\"c\"}\n" } else { b",\"after\":null,\"op\":\"d\"}\n" });
        Ok(())
    }
}
