//! Binds temporal joins: `JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency`, where the right side is a table or view
//! whose rows change over time.

use super::from::aliased;
use super::joins::join;
use crate::catalog::place_of;
use crate::expressions::truth;
use crate::lookup::Parts;
use crate::names::{Binder, Scope};
use crate::places::place;
use sqlparser::ast::Spanned;
use weir_core::join::{AsOf, JoinKind};
use weir_core::keyed::TimeDomain;
use weir_core::{Error, Field, Result};
use weir_expr::Expr;
use weir_plan::{Mode, Plan, TimeAttribute, derive, optimize, time_domain};

/// The column of an expression.
fn column_of(e: &Expr) -> Option<usize> {
    match e {
        Expr::Column { index, .. } => Some(*index),
        Expr::Cast { expr, ty, .. } if expr.ty().kind == ty.kind => column_of(expr),
        _ => None,
    }
}

impl Binder<'_> {
    /// Binds a join with a table as of a time: with versions of a table or view, or by looking rows up in an external system.
    pub(super) fn as_of(&mut self, input: Plan, scope: Scope, parts: &Parts<'_>) -> Result<(Plan, Scope)> {
        let time = self.expr(parts.time, &scope, &mut None)?;
        let of_left = derive(&input, Mode::Streaming).traits.times.clone();
        let event_time = column_of(&time).filter(|c| time_domain(*c, &of_left) == Some(TimeDomain::Event));
        if event_time.is_none() && self.can_look_up(parts.name)? {
            return self.lookup(input, scope, parts);
        }
        let processing = matches!(&time, Expr::Call { function, .. } if function.name() == "PROCTIME")
            || column_of(&time).is_some_and(|c| time_domain(c, &of_left) == Some(TimeDomain::Processing));
        let time_at = place(parts.time.span().start);
        if event_time.is_none() && !processing {
            let e = Error::script(format!("{time} is no time attribute")).at(time_at);
            return Err(e.hint("FOR SYSTEM_TIME AS OF takes the column with a WATERMARK, or a column PROCTIME()"));
        }
        let (right, name) = self.relation(parts.name)?;
        let right = match parts.alias {
            Some(alias) => aliased(right, alias)?,
            None => right,
        };
        let qualifier = parts.alias.map_or(name, |a| a.name.value.clone());
        self.versioned(input, scope, (right, qualifier), event_time, parts)
    }

    fn versioned(
        &mut self,
        input: Plan,
        scope: Scope,
        (right, qualifier): (Plan, String),
        event_time: Option<usize>,
        parts: &Parts<'_>,
    ) -> Result<(Plan, Scope)> {
        let at = place_of(parts.name);
        // Bounds of row numbers are known after optimization only.
        let optimized = optimize(right.clone(), &self.catalog.session()?)?;
        let traits = derive(&optimized, Mode::Streaming).traits.clone();
        let name = parts.name;
        let as_of = match event_time {
            None => AsOf::ProcessingTime,
            Some(left) => {
                let row_time = traits.times.iter().position(|t| *t == Some(TimeAttribute::RowTime));
                let right = row_time.ok_or_else(|| {
                    let e = Error::script(format!("'{name}' has no event time, by which its versions could be told"))
                        .at(at);
                    e.hint("declare a WATERMARK in the table")
                })?;
                AsOf::EventTime { left, right }
            }
        };
        let key = traits.upsert_key.clone().ok_or_else(|| {
            let e = Error::script(format!("'{name}' has no primary key, by which its versions could be told")).at(at);
            e.hint("declare PRIMARY KEY (…) NOT ENFORCED, or keep the last row of each key with ROW_NUMBER in a view")
        })?;
        let mut both = scope;
        let fields = right.schema().fields.iter();
        both.columns.extend(fields.map(|f| {
            let ty = f.ty.clone().nullable(f.ty.nullable || parts.left);
            (Some(qualifier.clone()), Field::new(f.name.clone(), ty))
        }));
        let condition = truth(self.expr(parts.on, &both, &mut None)?, "ON")?;
        let kind = if parts.left { JoinKind::Left } else { JoinKind::Inner };
        let names: Vec<String> = key.iter().map(|c| right.schema().fields[*c].name.clone()).collect();
        let plan = join(kind, input, right, vec![], Some(as_of), Some(condition), [None; 2]);
        if !has_keys(&plan, &key) {
            let e =
                Error::script(format!("ON does not compare the whole primary key of '{name}': {}", names.join(", ")));
            let e = e.at(place(parts.on.span().start));
            return Err(
                e.hint("a row is joined with one version of one key; put other conditions behind the key's columns")
            );
        }
        Ok((plan, both))
    }
}

/// Whether a join compares all of these columns of its right side.
fn has_keys(plan: &Plan, key: &[usize]) -> bool {
    match plan {
        Plan::Join { on, .. } => key.iter().all(|c| on.iter().any(|k| k.right == *c)),
        Plan::Calc { input, .. } => has_keys(input, key),
        _ => false,
    }
}
