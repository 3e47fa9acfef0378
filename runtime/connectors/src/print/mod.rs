//! The print sink. It writes each change as a line in Flink's form, without waiting for the epoch.

use crate::options::TableSpec;
use crate::registered::Connector;
use std::io::Write;
use std::sync::Arc;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::graph::{Sink, SinkCheckpoint, SinkFactory, SubtaskContext};
use weir_core::option_spec::Opt;
use weir_core::state::Epoch;
use weir_core::{Batch, Error, Result, Schema, Value, options};

pub(crate) const CONNECTOR: Connector = Connector {
    sink: Some(sink),
    ..Connector::new(&Descriptor {
        name: "print",
        help: "writes rows to standard output",
        writes: Some(Changelog::All),
        options: &[OPTIONS],
        rows_fail: false,
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'print', 'print-identifier' = 'row')",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    IDENTIFIER: String = Opt::text("print-identifier", "a label in front of each row").default("");
    STANDARD_ERROR: bool = Opt::boolean("standard-error", "whether to write to standard error instead of standard output").default("false");
}

struct Print {
    schema: Schema,
    identifier: String,
    to_stderr: bool,
}

fn sink(table: &TableSpec) -> Result<Arc<dyn SinkFactory>> {
    Ok(Arc::new(Print {
        schema: table.schema.clone(),
        identifier: table.value(&IDENTIFIER)?,
        to_stderr: table.value(&STANDARD_ERROR)?,
    }))
}

impl SinkFactory for Print {
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Sink>> {
        let subtask = if context.parallelism > 1 { (context.subtask + 1).to_string() } else { Default::default() };
        let prefix = match (self.identifier.as_str(), subtask.as_str()) {
            ("", "") => String::new(),
            ("", s) => format!("{s}> "),
            (i, "") => format!("{i}> "),
            (i, s) => format!("{i}:{s}> "),
        };
        Ok(Box::new(Printer { schema: self.schema.clone(), prefix, to_stderr: self.to_stderr, text: String::new() }))
    }
}

struct Printer {
    schema: Schema,
    prefix: String,
    to_stderr: bool,
    text: String,
}

impl Sink for Printer {
    fn write(&mut self, batch: Batch) -> Result<()> {
        self.text.clear();
        for row in 0..batch.rows() {
            self.text += &self.prefix;
            self.text += batch.kind(row).mark();
            self.text.push('[');
            for (i, (c, f)) in batch.data.columns().iter().zip(&self.schema.fields).enumerate() {
                self.text.push_str(if i > 0 { ", " } else { "" });
                weir_expr::text::print(&Value::read(c, row), &f.ty, &mut self.text);
            }
            self.text.push_str("]\n");
        }
        let written = if self.to_stderr {
            std::io::stderr().lock().write_all(self.text.as_bytes())
        } else {
            let mut out = std::io::stdout().lock();
            out.write_all(self.text.as_bytes()).and_then(|()| out.flush())
        };
        match written {
            // The reader has closed the pipe, as `head` does.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(e) => Err(Error::data(format!("cannot write to standard output: {e}"))),
            Ok(()) => Ok(()),
        }
    }
    fn checkpoint(&mut self, _epoch: Epoch, _last: bool) -> Result<SinkCheckpoint> {
        Ok(SinkCheckpoint::default())
    }
}
