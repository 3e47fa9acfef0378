//! A connector: what it is, and what makes its sources, sinks and lookups.

use crate::options::TableSpec;
use std::sync::Arc;
use weir_core::Result;
use weir_core::descriptor::Descriptor;
use weir_core::graph::{SinkFactory, SourceFactory};
use weir_operators::lookup::LookupTable;

/// Makes a source of a table.
type MakeSource = fn(&TableSpec) -> Result<Arc<dyn SourceFactory>>;
/// Makes a sink of a table.
type MakeSink = fn(&TableSpec) -> Result<Arc<dyn SinkFactory>>;
/// Makes lookups in a table by some of its columns.
type MakeLookup = fn(&TableSpec, &[usize]) -> Result<Arc<dyn LookupTable>>;

/// What a record alone makes of a table: columns, their format, and what the format's options may begin with.
pub(crate) type RecordFormat = (Vec<usize>, String, &'static str);

/// A connector.
pub(crate) struct Connector {
    pub descriptor: &'static Descriptor,
    pub source: Option<MakeSource>,
    pub sink: Option<MakeSink>,
    pub lookup: Option<MakeLookup>,
    /// Says what a record alone makes of a table's rows, by which dead letters are read again.
    pub record: Option<fn(&TableSpec) -> Result<RecordFormat>>,
}

impl Connector {
    /// One that makes nothing yet.
    pub const fn new(descriptor: &'static Descriptor) -> Self {
        Connector { descriptor, source: None, sink: None, lookup: None, record: None }
    }
}
