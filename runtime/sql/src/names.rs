//! Name resolution while a query is bound: the state of the binder, and the columns in scope.

use crate::catalog::{Catalog, FunctionLoader, Spent};
use crate::lookup_hint::LookupHints;
use crate::match_looks::MatchScope;
use crate::older_window::OlderWindow;
use crate::over::OverCall;
use crate::places::place;
use crate::state_ttl::StateTtl;
use crate::sub_queries::{SubQuery, outer};
use sqlparser::ast::{Ident, WindowSpec};
use std::collections::{BTreeMap, BTreeSet};
use weir_core::error::nearest;
use weir_core::{Error, Field, Result, TypeKind};
use weir_expr::Expr;
use weir_plan::Plan;

/// Binds statements to the declarations of the script.
pub(crate) struct Binder<'a> {
    pub catalog: &'a mut Catalog,
    pub loader: &'a dyn FunctionLoader,
    /// The queries of WITH, and the cost of each.
    pub ctes: Vec<BTreeMap<String, (Plan, Spent)>>,
    /// Tables and views that the query has read before, by full name, and the cost of each.
    pub read: BTreeMap<String, (Plan, Spent)>,
    /// The collected functions with OVER of the SELECT whose items are being bound; none elsewhere.
    pub over: Option<Vec<OverCall>>,
    /// The sub-queries in expressions of the SELECT that have not been joined to it yet; none where there can be no sub-query.
    pub sub_queries: Option<Vec<Option<SubQuery>>>,
    /// The columns of the query around the one that is being bound, if it is a sub-query that can name them.
    pub outer: Option<Scope>,
    /// The named windows of the SELECT.
    pub named_windows: Vec<(String, WindowSpec)>,
    /// The window of the older form in the GROUP BY of the SELECT.
    pub older_window: Option<OlderWindow>,
    /// The times to live that a hint of the SELECT gives.
    pub state_ttl: StateTtl,
    /// What hints of the SELECT say about its lookup joins.
    pub lookup_hints: LookupHints,
    /// The MATCH_RECOGNIZE whose expressions are being bound.
    pub matching: Option<MatchScope>,
    /// The current depth of nested queries.
    pub depth: usize,
    /// The current depth within an expression.
    pub nesting: usize,
}

impl<'a> Binder<'a> {
    pub fn new(catalog: &'a mut Catalog, loader: &'a dyn FunctionLoader) -> Self {
        Binder {
            catalog,
            loader,
            ctes: vec![],
            read: BTreeMap::new(),
            over: None,
            sub_queries: None,
            outer: None,
            named_windows: vec![],
            older_window: None,
            state_ttl: StateTtl::default(),
            lookup_hints: LookupHints::default(),
            matching: None,
            depth: 0,
            nesting: 0,
        }
    }
}

impl Binder<'_> {
    /// Resolves a dotted name: of a variable of MATCH_RECOGNIZE, of what is in scope, or, in a sub-query, of the query around.
    pub fn resolve(&self, parts: &[Ident], scope: &Scope) -> Result<Expr> {
        if let (Some(matching), [variable, column, fields @ ..]) = (&self.matching, parts)
            && let Some(e) = matching.column(&variable.value, &column.value)?
        {
            return fields.iter().try_fold(e, |e, name| field(e, &name.value));
        }
        let inner = scope.resolve(parts);
        match (&inner, &self.outer) {
            (Err(_), Some(around)) if !scope.names(parts) => around.resolve(parts).map(outer).or(inner),
            _ => inner,
        }
    }
}

/// The columns that an expression can name.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    pub columns: Vec<(Option<String>, Field)>,
    /// The columns that are only named with their table, because a join has merged them with those of the other side (USING, NATURAL).
    pub merged: BTreeSet<usize>,
}

impl Scope {
    pub fn new(columns: Vec<(Option<String>, Field)>) -> Scope {
        Scope { columns, merged: BTreeSet::new() }
    }

    /// The names of the relations that the columns belong to.
    pub fn relations(&self) -> impl Iterator<Item = Option<&str>> {
        self.columns.iter().map(|(of, _)| of.as_deref())
    }

    /// The columns of `*`.
    pub fn all(&self) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(|i| !self.merged.contains(i))
    }

    fn column(&self, index: usize) -> Expr {
        let f = &self.columns[index].1;
        Expr::column(index, f.name.clone(), f.ty.clone())
    }

    pub fn find(&self, qualifier: Option<&str>, name: &str) -> Result<Option<usize>> {
        let is = |q: &Option<String>| match (qualifier, q) {
            (None, _) => true,
            (Some(w), Some(q)) => q == w || q.ends_with(&format!(".{w}")),
            _ => false,
        };
        let alone = |i: &usize| qualifier.is_some() || !self.merged.contains(i);
        let found = self.columns.iter().enumerate().filter(|(_, (q, f))| f.name == name && is(q));
        let mut found = found.filter(|(i, _)| alone(i));
        let first = found.next();
        if found.next().is_some() {
            return Err(Error::script(format!("column '{name}' is ambiguous")));
        }
        Ok(first.map(|(i, _)| i))
    }

    /// The indices of a table's columns.
    pub fn of_table(&self, qualifier: &str) -> Vec<usize> {
        let suffix = format!(".{qualifier}");
        let is = |q: &Option<String>| q.as_deref().is_some_and(|q| q == qualifier || q.ends_with(&suffix));
        (0..self.columns.len()).filter(|i| is(&self.columns[*i].0)).collect()
    }

    /// Whether a dotted name begins with a column or a table's column, so that it cannot mean one of another scope.
    pub fn names(&self, parts: &[Ident]) -> bool {
        let names: Vec<&str> = parts.iter().map(|p| p.value.as_str()).collect();
        (0..names.len()).any(|split| {
            let qualifier = (split > 0).then(|| names[..split].join("."));
            !matches!(self.find(qualifier.as_deref(), names[split]), Ok(None))
        })
    }

    /// Resolves a dotted name: a column, a table's column, or a field within one.
    pub fn resolve(&self, parts: &[Ident]) -> Result<Expr> {
        let at = parts.first().and_then(|p| place(p.span.start));
        let names: Vec<&str> = parts.iter().map(|p| p.value.as_str()).collect();
        for split in (0..names.len()).rev() {
            // The longest matching qualifier wins.
            let qualifier = (split > 0).then(|| names[..split].join("."));
            if let Some(i) = self.find(qualifier.as_deref(), names[split]).map_err(|e| e.at(at))? {
                let mut expr = self.column(i);
                for name in &names[split + 1..] {
                    expr = field(expr, name).map_err(|e| e.at(at))?;
                }
                return Ok(expr);
            }
        }
        let wanted = names.last().copied().unwrap_or_default();
        let e = Error::script(format!("there is no column '{}'", names.join("."))).at(at);
        let known: Vec<&str> = self.columns.iter().map(|(_, f)| f.name.as_str()).collect();
        Err(match nearest(wanted, known.iter().copied()) {
            Some(n) => e.hint(format!("did you mean '{n}'?")),
            None if known.is_empty() => e.hint("there are no columns here"),
            None => e.hint(format!("there are: {}", known.join(", "))),
        })
    }
}

/// Binds access to a field of a row.
pub(crate) fn field(expr: Expr, name: &str) -> Result<Expr> {
    let ty = expr.ty();
    let TypeKind::Row(fields) = &ty.kind else {
        return Err(Error::script(format!("{expr} is {}, which has no field '{name}'", ty.kind)));
    };
    match fields.iter().position(|f| f.name == name) {
        Some(index) => {
            let ty = fields[index].ty.clone().nullable(fields[index].ty.nullable || ty.nullable);
            Ok(Expr::Field { expr: Box::new(expr), index, name: name.to_string(), ty })
        }
        None => {
            let known: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
            Err(Error::script(format!("the row {expr} has no field '{name}'; it has {}", known.join(", "))))
        }
    }
}
