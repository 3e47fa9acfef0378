//! Sinks, and what stands in front of them.

use super::{Assembly, forward, partitioned, short};
use std::sync::Arc;
use weir_connectors::TableSpec;
use weir_core::graph::{Edge, MAIN, Partitioning, Port, Role};
use weir_core::{Error, Result};
use weir_operators::chain::ChainFactory;
use weir_operators::enforce::{self, EnforceFactory};
use weir_operators::normalize::NormalizeFactory;
use weir_sql::{Plan, Table};

impl Assembly<'_> {
    /// Refuses a query whose results change where the sink only takes rows that come.
    pub(super) fn check_changes(&self, table: &Table, plan: &Plan) -> Result<()> {
        let connector = table.options.get("connector").map_or("", String::as_str);
        if !self.changes(plan) || weir_connectors::takes_changes(connector, table.format()) {
            return Ok(());
        }
        let e = Error::script(format!(
            "table '{}' ({connector}) only takes rows that come, and this query's results change",
            table.name
        ));
        Err(e.at(table.place).hint("SET 'execution.runtime-mode' = 'batch' writes each result once, at the end"))
    }

    /// Makes a sink, and in front of it what its columns and its key need.
    pub(super) fn sink(
        &mut self,
        table: &Table,
        identity: &str,
        inputs: Vec<(usize, Port)>,
        parallelism: usize,
        plan: Option<&Plan>,
    ) -> Result<()> {
        let uid = format!("{identity}/sink");
        let columns = (0..table.written.len()).collect();
        let mut spec = self.spec(table, &table.written, columns, &uid);
        // A table without a primary key takes the query's own, as Flink did when the key could not be declared.
        if let Some(plan) = plan.filter(|p| spec.key.is_empty() && !p.appends() && spec.connector() == "jdbc") {
            let e = Error::script(format!(
                "table '{}' has no primary key, and this query's results change without one",
                table.name
            ));
            let hint = "declare it: PRIMARY KEY (…) NOT ENFORCED";
            spec.key = plan.unique_key().ok_or_else(|| e.at(table.place).hint(hint))?;
        }
        if let Some(name) = table.on_error.dead_letters.as_ref().filter(|_| spec.connector() == "jdbc") {
            let letters = self.dead_letter_table(name)?;
            let columns = (0..letters.written.len()).collect();
            spec.dead_letters = Some(Box::new(self.spec(&letters, &letters.written, columns, &uid)));
        }
        spec.changes = plan.is_some_and(|p| self.changes(p));
        let key = spec.key.clone();
        let sink = weir_connectors::sink(&spec)?;
        let parallelism = Self::own_parallelism(table, "sink.parallelism")?.unwrap_or(parallelism);
        let mut inputs = inputs;
        if let Some(plan) = plan
            && let Some(factory) =
                EnforceFactory::new(&spec.name, &spec.schema, self.rules).map_err(|e| e.at(table.place))?
        {
            let factory = Arc::new(factory);
            inputs = inputs.into_iter().map(|i| self.enforced(i, factory.clone(), plan, identity)).collect();
        }
        if let Some(plan) = plan
            && self.materializes(plan, &spec)
        {
            let factory = NormalizeFactory {
                keys: key.clone(),
                schema: spec.schema.clone(),
                materializes: true,
                ttl_millis: self.ttl_millis,
            };
            let edges =
                inputs.into_iter().map(|(from, _)| partitioned(from, Partitioning::Hash(key.clone()))).collect();
            let uid = format!("{identity}/materialize");
            self.note_rows("materialize", &uid, &key, &spec.schema);
            let node = self.add("sink-materialize", uid, parallelism, Role::Operator(Arc::new(factory)), edges);
            inputs = vec![(node, MAIN)];
        }
        let edges = inputs
            .into_iter()
            .map(|(from, port)| {
                let same = self.nodes[from].parallelism == parallelism;
                // Changes of one key stay in order: they come from one subtask, and rebalancing would tear them apart.
                let partitioning = match (same, key.is_empty()) {
                    (true, _) => Partitioning::Forward,
                    (false, false) => Partitioning::Hash(key.clone()),
                    (false, true) if parallelism == 1 => Partitioning::Single,
                    (false, true) => Partitioning::Hash((0..table.written.len()).collect()),
                };
                let ordered = plan.is_some_and(|p| self.changes(p));
                Edge { port, ordered, ..partitioned(from, partitioning) }
            })
            .collect();
        self.note_table("sink", &uid, table, &spec.schema);
        let name = format!("sink {}", short(&table.name));
        self.add(&name, uid, parallelism, Role::Sink(sink), edges);
        Ok(())
    }

    /// Holds what comes out of a node against a sink's columns: in one chain with the operator, if that has no other reader.
    fn enforced(
        &mut self,
        (from, port): (usize, Port),
        factory: Arc<EnforceFactory>,
        plan: &Plan,
        identity: &str,
    ) -> (usize, Port) {
        if let Role::Operator(operator) = &self.nodes[from].role
            && !self.has_several_readers(from)
        {
            let chain = ChainFactory { links: vec![operator.clone(), factory] };
            self.nodes[from].role = Role::Operator(Arc::new(chain));
            return (from, port);
        }
        let edge = Edge { port, ..forward(from, self.changes(plan)) };
        let parallelism = self.nodes[from].parallelism;
        let uid = format!("{identity}/constraints");
        (self.add("constraints", uid, parallelism, Role::Operator(factory), vec![edge]), MAIN)
    }

    /// Whether rows of several keys of the query may share one of the sink's, so that what stands there has to be kept.
    fn materializes(&self, plan: &Plan, spec: &TableSpec) -> bool {
        let upserts = !spec.key.is_empty() && weir_connectors::upserts(spec.connector());
        match self.compiled.settings.get("table.exec.sink.upsert-materialize").map(String::as_str) {
            Some("none") => false,
            Some("force") => upserts,
            _ => {
                // What is cut to a column's length on its way into the sink may be equal then.
                let cuts = self.rules.fits_length == Some(true);
                let apart = |k: &usize| {
                    spec.key.contains(k) && !(cuts && enforce::length(&spec.schema.fields[*k].ty).is_some())
                };
                let own = plan.unique_key().is_some_and(|own| own.iter().all(apart));
                upserts && self.changes(plan) && !own
            }
        }
    }
}
