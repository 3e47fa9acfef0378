//! Plans sinks and the operators directly before them.

use super::graph::{Operator, Statement};
use super::settings::own_parallelism;
use super::{Output, Planned, Planner, forward, partitioned, short};
use crate::logical::{Insert, StateUids};
use crate::settings::{Materialize, Mode};
use crate::table::Table;
use crate::traits::{ChangelogMode, Derived, derive};
use std::sync::Arc;
use weir_core::constraints::{Constraints, length};
use weir_core::descriptor::SINK_PARALLELISM;
use weir_core::graph::{Edge, MAIN, Partitioning, Port};
use weir_core::{Error, Result};

impl Planner<'_> {
    /// Rejects a query whose results change if the sink only accepts insertions.
    pub(super) fn check_changes(&self, table: &Table, top: &Derived<'_>) -> Result<()> {
        if top.traits.changelog.is_insert_only() || table.takes_changes() {
            return Ok(());
        }
        let connector = table.connector();
        let e = Error::script(format!(
            "table '{}' ({connector}) only takes rows that come, and this query's results change",
            table.name
        ));
        Err(e.at(table.place).hint("SET 'execution.runtime-mode' = 'batch' writes each result once, at the end"))
    }

    /// Plans the sink of a statement, and the operators before it that its columns and key require.
    pub(super) fn sink(
        &mut self,
        insert: &Insert,
        top: &Derived<'_>,
        output: Output,
        statement: &Arc<Statement>,
    ) -> Result<()> {
        let table = &insert.table;
        let changelog = top.traits.changelog;
        let key = self.sink_key(insert, top)?;
        let parallelism = own_parallelism(table, &SINK_PARALLELISM)?.unwrap_or(output.parallelism);
        let mut from = output.node;
        let constraints = Constraints::of(short(&table.name), &table.sink_schema(), self.settings.rules);
        if let Some(constraints) = constraints.map_err(|e| e.at(table.place))? {
            let enforce = Operator::Enforce { table: table.clone(), constraints };
            from = self.enforced(from, enforce, changelog, statement);
        }
        let materializes = self.materializes(top, table, &key);
        if materializes {
            let planned = Planned {
                name: "sink-materialize".to_string(),
                uids: StateUids::own(format!("{}/materialize", statement.identity)),
                parallelism,
                operator: Operator::Materialize {
                    keys: key.clone(),
                    schema: table.sink_schema(),
                    ttl_millis: self.settings.ttl_millis,
                    update_before: true,
                },
                changelog,
                inputs: vec![partitioned(from, Partitioning::Hash(key.clone()))],
            };
            from = self.add(statement, planned).node;
        }
        let same = |own: &Vec<usize>| own.iter().all(|k| key.contains(k)) && key.iter().all(|k| own.contains(k));
        let own = || key.is_empty() || top.traits.upsert_key.as_ref().is_some_and(same);
        let replaces = table.upserts() && (materializes || own());
        self.write(table, key, changelog, vec![(from, MAIN)], parallelism, statement)?;
        if replaces {
            self.replacing.push(self.graph.nodes.len() - 1);
        }
        Ok(())
    }

    /// Adds the sink itself.
    pub(super) fn write(
        &mut self,
        table: &Arc<Table>,
        key: Vec<usize>,
        changelog: ChangelogMode,
        inputs: Vec<(usize, Port)>,
        parallelism: usize,
        statement: &Arc<Statement>,
    ) -> Result<()> {
        let letters = table.on_error.dead_letters.as_ref().filter(|_| table.own_dead_letters());
        let dead_letters = letters.map(|name| self.dead_letter_sink(name)).transpose()?;
        let changes = !changelog.is_insert_only();
        let inputs = inputs
            .into_iter()
            .map(|(from, port)| {
                let same = self.graph.nodes[from].parallelism == parallelism;
                // Changes of a key must stay in order: they come from one subtask, and a rebalance would separate them.
                let partitioning = match (same, key.is_empty()) {
                    (true, _) => Partitioning::Forward,
                    (false, false) => Partitioning::Hash(key.clone()),
                    (false, true) if parallelism == 1 => Partitioning::Single,
                    (false, true) => Partitioning::Hash((0..table.written.len()).collect()),
                };
                Edge { port, ordered: changes, ..partitioned(from, partitioning) }
            })
            .collect();
        let name = format!("sink {}", short(&table.name));
        let uids = StateUids::own(format!("{}/sink", statement.identity));
        let operator = Operator::Sink { table: table.clone(), key, changes, dead_letters };
        self.add(statement, Planned { name, uids, parallelism, operator, changelog, inputs });
        Ok(())
    }

    /// The written columns that form the key of a sink: its primary key. A table of a database without a primary key uses the query's own
    /// key, as early versions of Flink did. In batch mode it is the key that the query has in streaming mode.
    fn sink_key(&self, insert: &Insert, top: &Derived<'_>) -> Result<Vec<usize>> {
        let table = &insert.table;
        let key = table.sink_key();
        let changes = || match self.job.mode {
            Mode::Streaming => !top.traits.changelog.is_insert_only(),
            Mode::Batch => !derive(&insert.plan, Mode::Streaming).traits.changelog.is_insert_only(),
        };
        if !key.is_empty() || !table.takes_key_of_query() || !changes() {
            return Ok(key);
        }
        top.traits.upsert_key.clone().ok_or_else(|| {
            let e = Error::script(format!(
                "table '{}' has no primary key, and this query's results change without one",
                table.name
            ));
            e.at(table.place).hint("declare it: PRIMARY KEY (…) NOT ENFORCED")
        })
    }

    /// Adds the operator that checks a node's output against a sink's columns. It is chained with the node if that has no other reader.
    fn enforced(
        &mut self,
        from: usize,
        operator: Operator,
        changelog: ChangelogMode,
        statement: &Arc<Statement>,
    ) -> usize {
        let node = &self.graph.nodes[from];
        if node.chain.iter().all(Operator::chains) && !self.has_several_readers(from) {
            self.graph.nodes[from].chain.push(operator);
            return from;
        }
        let parallelism = node.parallelism;
        let inputs = vec![forward(from, !changelog.is_insert_only())];
        let uids = StateUids::own(format!("{}/constraints", statement.identity));
        let name = "constraints".to_string();
        self.add(statement, Planned { name, uids, parallelism, operator, changelog, inputs }).node
    }

    /// Whether several keys of the query may share a key of the sink, so that all rows have to be kept.
    fn materializes(&self, top: &Derived<'_>, table: &Table, key: &[usize]) -> bool {
        let upserts = !key.is_empty() && table.upserts();
        match self.settings.materialize {
            Materialize::Never => false,
            Materialize::Force => upserts,
            Materialize::Auto => {
                // Values that are trimmed to a column's length before the sink may become equal.
                let cuts = self.settings.rules.fits_length == Some(true);
                let schema = table.sink_schema();
                let apart = |k: &usize| key.contains(k) && !(cuts && length(&schema.fields[*k].ty).is_some());
                let own = top.traits.upsert_key.as_ref().is_some_and(|own| own.iter().all(apart));
                upserts && !top.traits.changelog.is_insert_only() && !own
            }
        }
    }
}
