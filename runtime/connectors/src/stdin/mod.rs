//! Standard input as a source. It cannot be read again, so a job with this source always starts without state.

use crate::format::{DecodeProgress, FILES, StreamDecoder, decoder};
use crate::options::TableSpec;
use crate::registered::Connector;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use weir_core::descriptor::{Changelog, Descriptor};
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::option_spec::Opt;
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::{Error, Result, options};

pub(crate) const CONNECTOR: Connector = Connector {
    source: Some(source),
    record: Some(|t| Ok(((0..t.schema.len()).collect(), t.value(&FORMAT)?, ""))),
    ..Connector::new(&Descriptor {
        name: "stdin",
        help: "reads standard input",
        reads: Some(Changelog::OfFormat),
        options: &[OPTIONS],
        example: "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'stdin', 'format' = 'json')",
        ..Descriptor::CONNECTOR
    })
};

options! {
    OPTIONS:
    FORMAT: String = Opt::format("format", FILES, "the format of the records").required();
}

struct Stdin {
    decoder: Arc<crate::format::DecoderFactory>,
}

fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let all: Vec<usize> = (0..table.schema.len()).collect();
    Ok(Arc::new(Stdin { decoder: Arc::new(decoder(table, &table.value(&FORMAT)?, "", &all)?) }))
}

impl SourceFactory for Stdin {
    fn start(&self, _state: &StateHandle, _parallelism: usize) -> Result<()> {
        Ok(())
    }
    fn replayable(&self) -> bool {
        false
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let first = context.subtask == 0;
        let reading = StreamDecoder::new(self.decoder.make(), "standard input", context);
        Ok(Box::new(StdinReader { reading, first, at_end: false }))
    }
}

struct StdinReader {
    reading: StreamDecoder,
    first: bool,
    at_end: bool,
}

impl Source for StdinReader {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        if !self.first {
            return Ok(Polled::End);
        }
        if !self.at_end && self.reading.wants_more() {
            let mut poll = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
            // SAFETY: one structure is handed over, and its count is 1.
            if unsafe { libc::poll(&raw mut poll, 1, 20) } == 0 {
                let progress = self.reading.decode(false, out)?;
                return Ok(if progress == DecodeProgress::Rows {
                    Polled::More
                } else {
                    Polled::Wait(Duration::from_millis(5))
                });
            }
            let read = |space: &mut [u8]| std::io::stdin().lock().read(space);
            let n = self.reading.fill(read).map_err(|e| Error::data("cannot read standard input").caused_by(e))?;
            self.at_end = n == 0;
        }
        match self.reading.decode(self.at_end, out)? {
            DecodeProgress::Rows | DecodeProgress::NeedsMore if !self.at_end => Ok(Polled::More),
            DecodeProgress::Rows => Ok(Polled::More),
            _ => Ok(Polled::End),
        }
    }
    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        Ok(Changes::default())
    }
}
