//! Tables that receive what operators emit beside their results, such as late rows: a projection for each kind of rows, and a sink.

use super::graph::{Operator, Statement};
use super::settings::own_parallelism;
use super::{Planned, Planner, short};
use crate::logical::StateUids;
use crate::table::Table;
use crate::traits::ChangelogMode;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::constraints::Constraints;
use weir_core::descriptor::SINK_PARALLELISM;
use weir_core::graph::{Edge, MAIN};
use weir_core::{Error, Result, Schema};
use weir_expr::Expr;

/// Rows on their way to such a table.
pub(super) struct SideRows {
    /// The name of the node.
    pub name: &'static str,
    /// The uid of its state.
    pub uid: String,
    /// The columns of the rows.
    pub input: Schema,
    /// The columns of the table, over these.
    pub exprs: Vec<Expr>,
    /// Where the rows come from.
    pub inputs: Vec<Edge>,
}

impl Planner<'_> {
    /// Plans the projection of rows to the columns of a table that receives them. Returns its node.
    pub(super) fn side_rows(
        &mut self,
        table: &Arc<Table>,
        rows: SideRows,
        statement: &Arc<Statement>,
    ) -> Result<usize> {
        let SideRows { name, uid, input, exprs, inputs } = rows;
        let schema = table.sink_schema();
        let planned = Planned {
            name: name.to_string(),
            uids: StateUids::own(uid),
            parallelism: 1,
            operator: Operator::Calc { condition: None, exprs, schema: schema.clone(), input },
            changelog: ChangelogMode::INSERT_ONLY,
            inputs,
        };
        let node = self.add(statement, planned).node;
        let constraints = Constraints::of(short(&table.name), &schema, self.settings.rules);
        if let Some(constraints) = constraints.map_err(|e| e.at(table.place))? {
            self.graph.nodes[node].chain.push(Operator::Enforce { table: table.clone(), constraints });
        }
        Ok(node)
    }

    /// Plans the sinks of such tables, each with the nodes that it reads. The state belongs to the table's name and `what`.
    pub(super) fn side_sinks(&mut self, of: BTreeMap<String, Vec<usize>>, what: &str) -> Result<()> {
        for (name, nodes) in of {
            let table = self.side_table(&name)?;
            let parallelism = own_parallelism(&table, &SINK_PARALLELISM)?.unwrap_or(1);
            let inputs = nodes.into_iter().map(|n| (n, MAIN)).collect();
            let statement = side_statement(&table, what);
            self.write(&table, table.sink_key(), ChangelogMode::INSERT_ONLY, inputs, parallelism, &statement)?;
        }
        Ok(())
    }

    /// A table that was found before.
    pub(super) fn side_table(&self, name: &str) -> Result<Arc<Table>> {
        self.table_named(name).ok_or_else(|| Error::internal(format!("no table '{name}' for rows beside results")))
    }
}

/// The identity of the state for what a table receives beside results.
pub(super) fn side_statement(table: &Table, what: &str) -> Arc<Statement> {
    Arc::new(Statement { identity: format!("{}#{what}", table.name), keeps_records: false })
}
