//! Tables, as their connectors see them.

use std::path::Path;
use std::sync::Arc;
use weir_connectors::TableSpec;
use weir_core::Result;
use weir_expr::Session;
use weir_plan::Table;
use weir_plan::physical::Statement;

/// What a node's tables have in common.
pub(super) struct Specs<'a> {
    /// The folder that relative paths start from.
    pub base: &'a Path,
    /// The session.
    pub session: &'a Arc<Session>,
}

impl Specs<'_> {
    /// A table that is read, or in which rows are looked up: these of its columns.
    pub(super) fn read(&self, table: &Table, columns: &[usize], uid: &str, statement: &Statement) -> Result<TableSpec> {
        let all: Vec<usize> = (0..table.physical.len()).collect();
        self.spec(table, &all, columns.to_vec(), uid, statement)
    }

    /// A table that is written.
    pub(super) fn written(&self, table: &Table, uid: &str, statement: &Statement) -> Result<TableSpec> {
        self.spec(table, &table.written, (0..table.written.len()).collect(), uid, statement)
    }

    /// A table as its connector sees it: of its columns those in `of`, of which `columns` are read or written.
    fn spec(
        &self,
        table: &Table,
        of: &[usize],
        columns: Vec<usize>,
        uid: &str,
        statement: &Statement,
    ) -> Result<TableSpec> {
        let places = |all: &[usize]| all.iter().filter_map(|k| of.iter().position(|o| o == k)).collect::<Vec<_>>();
        let mut spec = TableSpec::new(
            table.described.connector,
            table.name.rsplit('.').next().unwrap_or(&table.name).to_string(),
            table.physical.project(of),
            columns,
            places(&table.partitioned_by),
            table.options.clone(),
            table.places.clone(),
            table.place,
            self.base.to_path_buf(),
            table.on_error.policy,
            self.session.clone(),
            uid.to_string(),
        );
        spec.metadata = of.iter().map(|i| table.metadata[*i].clone()).collect();
        spec.key = places(&table.primary_key);
        spec.keeps_records = statement.keeps_records;
        Ok(spec)
    }
}
