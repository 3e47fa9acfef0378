//! A connector: its descriptor, and the functions that create its sources, sinks and lookups.

use crate::options::TableSpec;
use std::sync::Arc;
use weir_core::Result;
use weir_core::descriptor::Descriptor;
use weir_core::graph::{SinkFactory, SourceFactory};
use weir_operators::lookup::LookupTable;

/// Creates a table's source.
type MakeSource = fn(&TableSpec) -> Result<Arc<dyn SourceFactory>>;
/// Creates a table's sink.
type MakeSink = fn(&TableSpec) -> Result<Arc<dyn SinkFactory>>;
/// Creates a table's lookups by some of its columns.
type MakeLookup = fn(&TableSpec, &[usize]) -> Result<Arc<dyn LookupTable>>;

/// How to decode a record without its surroundings: the columns, their format, and the prefix of the format's options.
pub(crate) type RecordFormat = (Vec<usize>, String, &'static str);

/// A connector.
pub(crate) struct Connector {
    pub descriptor: &'static Descriptor,
    pub source: Option<MakeSource>,
    pub sink: Option<MakeSink>,
    pub lookup: Option<MakeLookup>,
    /// Returns how a record is decoded without its surroundings; a replay of dead letters needs it.
    pub record: Option<fn(&TableSpec) -> Result<RecordFormat>>,
}

impl Connector {
    /// A connector without a source, sink or lookup.
    pub const fn new(descriptor: &'static Descriptor) -> Self {
        Connector { descriptor, source: None, sink: None, lookup: None, record: None }
    }
}
