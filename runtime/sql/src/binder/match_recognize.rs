//! Binds MATCH_RECOGNIZE.

use super::from::aliased;
use crate::aggregates::{Collected, Collector, PLACEHOLDER};
use crate::expressions::{arguments, truth};
use crate::match_clauses::{Clause, FINAL, RUNNING, clause, excluded};
use crate::match_looks::{Inside, LOOKS, MatchScope, Navigation};
use crate::names::{Binder, Scope};
use crate::places::{place, start};
use crate::words::check_name;
use sqlparser::ast::{
    AfterMatchSkip, BinaryOperator, Expr as Ast, Function, FunctionArg, FunctionArgExpr, Ident, MatchRecognizePattern,
    MatchRecognizeSymbol, Measure, OrderByExpr, RepetitionQuantifier, RowsPerMatch, Spanned, SymbolDefinition,
    TableFactor,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_core::descriptor::TIMED_OUT;
use weir_core::error::{Place, nearest};
use weir_core::keyed::TimeDomain;
use weir_core::rank::SortKey;
use weir_core::{Error, Field, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::Expr;
use weir_expr::aggregate::{Aggregate, AggregateCall};
use weir_expr::match_recognize::{Condition, MatchRecognize, Pattern, RowsOf, Skip, TimedOut, What};
use weir_plan::physical::matches_of_changes;
use weir_plan::{Mode, Plan, StateUids, WindowTime, derive, time_domain};

/// The greatest size of a pattern.
const SIZE: u64 = 5_000;

/// The functions of the rows of a match.
const OF_MATCHES: [&str; 10] =
    ["FIRST", "LAST", "PREV", "NEXT", "MATCH_ROWTIME", "MATCH_PROCTIME", "CLASSIFIER", "MATCH_NUMBER", FINAL, RUNNING];

/// The greatest number of variables in PERMUTE.
const PERMUTED: usize = 5;

/// The clauses of a MATCH_RECOGNIZE, as they are parsed.
struct Clauses<'a> {
    partition_by: &'a [Ast],
    order_by: &'a [OrderByExpr],
    measures: &'a [Measure],
    rows: &'a Option<RowsPerMatch>,
    skip: &'a Option<AfterMatchSkip>,
    pattern: &'a MatchRecognizePattern,
    symbols: &'a [SymbolDefinition],
}

/// The variables of a pattern.
#[derive(Default)]
struct Variables {
    names: Vec<String>,
}

impl Variables {
    fn find(&self, name: &Ident, what: &str) -> Result<usize> {
        self.names.iter().position(|n| *n == name.value).ok_or_else(|| {
            let e = Error::script(format!("{what} '{}', which is not in the PATTERN", name.value));
            let e = e.at(place(name.span.start));
            match nearest(&name.value, self.names.iter().map(String::as_str)) {
                Some(near) => e.hint(format!("did you mean '{near}'?")),
                None => e.hint(format!("its variables are {}", self.names.join(", "))),
            }
        })
    }
}

impl Binder<'_> {
    /// Binds MATCH_RECOGNIZE over a relation.
    pub(super) fn match_recognize(
        &mut self,
        input: Plan,
        scope: &Scope,
        factor: &TableFactor,
    ) -> Result<(Plan, Scope)> {
        let TableFactor::MatchRecognize {
            table: _,
            partition_by,
            order_by,
            measures,
            rows_per_match: rows,
            after_match_skip: skip,
            pattern,
            symbols,
            alias,
        } = factor
        else {
            return Err(Error::internal("a MATCH_RECOGNIZE that is none"));
        };
        let at = place(factor.span().start);
        let clauses = Clauses { partition_by, order_by, measures, rows, skip, pattern, symbols };
        let plan = self.matches(input, scope, &clauses).map_err(|e| e.at(at))?;
        let (plan, name) = match alias {
            Some(a) => (aliased(plan, a)?, Some(a.name.value.clone())),
            None => (plan, None),
        };
        let columns = plan.schema().fields.iter().map(|f| (name.clone(), f.clone())).collect();
        Ok((plan, Scope::new(columns)))
    }

    fn matches(&mut self, input: Plan, scope: &Scope, clauses: &Clauses<'_>) -> Result<Plan> {
        let all_rows = all_rows(clauses.rows)?;
        let mut variables = Variables::default();
        let (at_start, pattern) = whole_pattern(clauses.pattern, all_rows, &mut variables)?;
        // Flink takes definitions of variables that are not in the pattern, and does not use them.
        let used = variables.names.len();
        for SymbolDefinition { symbol, .. } in clauses.symbols.iter().filter(|s| clause(&s.symbol).is_none()) {
            if !variables.names.contains(&symbol.value) {
                variables.names.push(symbol.value.clone());
            }
        }
        let partition = clauses.partition_by.iter().map(|e| self.match_column(e, scope, "PARTITION BY"));
        let partition = partition.collect::<Result<Vec<_>>>()?;
        let (time, order) = self.match_order(&input, scope, clauses.order_by)?;
        let skip = skip(clauses.skip.as_ref(), &pattern, &variables, clauses.symbols)?;
        let row_time = (time.domain == TimeDomain::Event).then_some(time.column);
        let mut names: Vec<_> =
            variables.names.iter().enumerate().map(|(n, v)| (v.clone(), RowsOf::Variables(vec![n]))).collect();
        names.extend(subsets(clauses.symbols, &variables)?);
        let (schema, looks) = (input.schema().clone(), vec![]);
        let (of_pattern, whole, inside) = (pattern.clone(), false, Inside::None);
        let matching = MatchScope {
            input: schema,
            names,
            row_time,
            pattern: of_pattern,
            all_rows,
            defines: None,
            whole,
            looks,
            inside,
        };
        let outer = self.matching.replace(matching);
        let bound = self.match_expressions(clauses, &variables);
        let matching = std::mem::replace(&mut self.matching, outer);
        let (mut define, within, measures) = bound?;
        define[used..].fill(None);
        let looks = matching.map(|m| m.looks).unwrap_or_default();
        let names = variables.names;
        let timed_out = timed_out(&input, &partition, within, &measures)?;
        let matching = MatchRecognize {
            variables: names,
            pattern,
            at_start,
            define,
            skip,
            within,
            measures: looks,
            all_rows,
            timed_out,
        };
        let order_columns: Vec<usize> = [time.column].into_iter().chain(order.iter().map(|k| k.column)).collect();
        let kept = if all_rows { (0..input.schema().len()).collect() } else { partition.clone() };
        let plan = matches_of(input, partition.clone(), time, order, matching, &kept);
        // The partition and, for all rows, the order come first, then the measures, then what is left of the row.
        let mut first = partition;
        if all_rows {
            first.extend(order_columns);
        }
        let mut seen = vec![];
        first.retain(|c| {
            !seen.contains(c) && {
                seen.push(*c);
                true
            }
        });
        let rest = kept.iter().filter(|c| !first.contains(c));
        let columns = plan.columns();
        let column = |c: &usize| kept.iter().position(|k| k == c).and_then(|at| columns.get(at).cloned());
        let measures = measures.into_iter().map(|(name, e)| (name, over_looks(e, kept.len())));
        let named: Vec<_> = first.iter().filter_map(column).chain(measures).chain(rest.filter_map(column)).collect();
        self.spend(named.len(), 0)?;
        Ok(Plan::calc(plan, None, named))
    }

    /// Binds the conditions, the time of WITHIN and the measures.
    #[expect(clippy::type_complexity, reason = "the three parts")]
    fn match_expressions(
        &mut self,
        clauses: &Clauses<'_>,
        variables: &Variables,
    ) -> Result<(Vec<Option<Condition>>, Option<i64>, Vec<(String, Expr)>)> {
        let (mut define, mut within): (Vec<Option<Condition>>, _) = (vec![None; variables.names.len()], None);
        for SymbolDefinition { symbol, definition } in clauses.symbols {
            match clause(symbol) {
                Some(Clause::Within) => within = Some(self.match_within(definition)?),
                Some(Clause::Subset) => {}
                None => {
                    check_name(symbol)?;
                    let variable = variables.find(symbol, "DEFINE has a variable")?;
                    if define[variable].is_some() {
                        let e = Error::script(format!("DEFINE has '{}' twice", symbol.value));
                        return Err(e.at(place(symbol.span.start)).hint("join the conditions by AND"));
                    }
                    self.matching.iter_mut().for_each(|m| m.defines = Some(variable));
                    let e = self.match_expression(definition)?;
                    let e = truth(e, "DEFINE").map_err(|e| e.at(place(start(definition))))?;
                    let looks = self.matching.as_mut().map(|m| std::mem::take(&mut m.looks)).unwrap_or_default();
                    define[variable] = Some(Condition { expr: over_looks(e, 0), looks });
                }
            }
        }
        self.matching.iter_mut().for_each(|m| m.defines = None);
        let mut measures: Vec<(String, Expr)> = vec![];
        for Measure { expr, alias } in clauses.measures {
            check_name(alias)?;
            if measures.iter().any(|(name, _)| *name == alias.value) {
                let e = Error::script(format!("MEASURES has '{}' twice", alias.value));
                return Err(e.at(place(alias.span.start)));
            }
            measures.push((alias.value.clone(), self.match_expression(expr)?));
        }
        Ok((define, within, measures))
    }

    /// Binds an expression over the rows of a match. Its columns are what is read of them.
    fn match_expression(&mut self, ast: &Ast) -> Result<Expr> {
        let lost = || Error::internal("an expression of no match");
        let input = &self.matching.as_ref().ok_or_else(lost)?.input;
        let columns = input.fields.iter().map(|f| (None, Field::new(f.name.clone(), f.ty.clone().nullable(true))));
        let columns = columns.collect();
        let e = self.with_aggregates(ast, &Scope::new(columns))?;
        let matching = self.matching.as_mut().ok_or_else(lost)?;
        Ok(matching.rows(e, Navigation::Last(0)))
    }

    /// Binds an expression over the rows of a match, and reads the aggregates in it.
    fn with_aggregates(&mut self, ast: &Ast, scope: &Scope) -> Result<Expr> {
        let mut collector = Collector::default();
        let e = self.expr(ast, scope, &mut Some(&mut collector))?;
        let matching = self.matching.as_mut().ok_or_else(|| Error::internal("an aggregate of no match"))?;
        let calls = collector.calls.into_iter().map(|call| aggregate(call, matching));
        let calls = calls.collect::<Result<Vec<_>>>().map_err(|e| e.at(place(start(ast))))?;
        Ok(e.rewrite(&mut |e| match e {
            Expr::Column { index, .. } if index >= PLACEHOLDER => calls[index - PLACEHOLDER].clone(),
            e => e,
        }))
    }

    /// Binds a function of the rows of a match; none for other functions.
    pub(crate) fn of_match(&mut self, name: &str, f: &Function, scope: &Scope) -> Result<Option<Expr>> {
        let Some(matching) = &self.matching else { return Ok(None) };
        if !OF_MATCHES.contains(&name) {
            return Ok(None);
        }
        let may_stand = match matching.inside {
            Inside::None => true,
            Inside::Physical => matches!(name, "FIRST" | "LAST" | FINAL | RUNNING),
            Inside::Logical => false,
        };
        if !may_stand {
            let of = if matching.inside == Inside::Physical { "PREV or NEXT" } else { "FIRST, LAST or an aggregate" };
            let e = Error::script(format!("{name} cannot stand inside {of}"));
            return Err(e.hint("read the row's value first, and compute with it: FIRST(A.price) * 2"));
        }
        let mut args = vec![];
        for a in arguments(f) {
            match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => args.push(e),
                _ => return Err(Error::script(format!("{name} takes expressions"))),
            }
        }
        match (name, args.as_slice()) {
            ("FIRST" | "LAST" | "PREV" | "NEXT", [of]) => self.navigation(name, of, None, scope).map(Some),
            ("FIRST" | "LAST" | "PREV" | "NEXT", [of, n]) => self.navigation(name, of, Some(*n), scope).map(Some),
            (FINAL | RUNNING, [of]) => self.final_or_running(name == FINAL, of, scope).map(Some),
            ("MATCH_PROCTIME", []) => self.call("PROCTIME", vec![]).map(Some),
            ("MATCH_ROWTIME", []) => self.match_row_time(None, scope).map(Some),
            ("MATCH_ROWTIME", [column]) => self.match_row_time(Some(*column), scope).map(Some),
            ("CLASSIFIER", []) => Ok(self.look(What::Classifier, SqlType::STRING, "CLASSIFIER()")),
            ("MATCH_NUMBER", []) => Ok(self.look(What::Number, SqlType::BIGINT.not_null(), "MATCH_NUMBER()")),
            _ => {
                let hint = match name {
                    "FIRST" | "LAST" | "PREV" | "NEXT" => format!("{name}(A.column) or {name}(A.column, 1)"),
                    _ => format!("{name}()"),
                };
                Err(Error::script(format!("{name} does not take {} arguments", args.len())).hint(hint))
            }
        }
    }

    fn look(&mut self, what: What, ty: SqlType, name: &str) -> Option<Expr> {
        self.matching.as_mut().map(|m| m.look(what, ty, name.to_string()))
    }

    /// Binds FIRST, LAST or an aggregate behind FINAL or RUNNING.
    fn final_or_running(&mut self, whole: bool, of: &Ast, scope: &Scope) -> Result<Expr> {
        let word = if whole { "FINAL" } else { "RUNNING" };
        let name = match of {
            Ast::Function(f) => f.name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_ascii_uppercase()),
            _ => None,
        };
        let aggregates = name.as_deref().is_some_and(|n| Aggregate::by_name(n).is_some());
        if !aggregates && !matches!(name.as_deref(), Some("FIRST" | "LAST")) {
            let e = Error::script(format!("{word} stands in front of FIRST, LAST or an aggregate, and not of {of}"));
            return Err(e.at(place(start(of))).hint(format!("{word} LAST(A.price), {word} SUM(A.price)")));
        }
        let Some(matching) = &mut self.matching else { return Err(Error::internal("a row of no match")) };
        if whole && matching.defines.is_some() {
            let e = Error::script(format!("{word} {of} reads rows of the match that are still to come"));
            return Err(e
                .at(place(start(of)))
                .hint("a condition reads the rows up to its own; FINAL stands in MEASURES"));
        }
        // A single row for each match is of the whole match in any case.
        matching.whole = whole && matching.all_rows;
        let e = if aggregates { self.with_aggregates(of, scope) } else { self.expr(of, scope, &mut None) };
        self.matching.iter_mut().for_each(|m| m.whole = false);
        e
    }

    /// Binds FIRST, LAST, PREV and NEXT.
    fn navigation(&mut self, name: &str, of: &Ast, offset: Option<&Ast>, scope: &Scope) -> Result<Expr> {
        let offset = match offset.map(|e| self.expr(e, scope, &mut None)).transpose()? {
            None => usize::from(matches!(name, "PREV" | "NEXT")),
            Some(Expr::Literal { value: Value::Int(n), .. }) if n >= 0 => n as usize,
            Some(e) => return Err(Error::script(format!("{name} takes a constant number of rows, not {e}"))),
        };
        let lost = || Error::internal("a row of no match");
        let (by, inside) = match name {
            "PREV" => (-(offset as i64), Inside::Physical),
            "NEXT" => (offset as i64, Inside::Physical),
            _ => (0, Inside::Logical),
        };
        let matching = self.matching.as_mut().ok_or_else(lost)?;
        let (around, before) = (std::mem::replace(&mut matching.inside, inside), matching.looks.len());
        let e = self.expr(of, scope, &mut None);
        let matching = self.matching.as_mut().ok_or_else(lost)?;
        matching.inside = around;
        match name {
            "FIRST" => Ok(matching.rows(e?, Navigation::First(offset))),
            "LAST" => Ok(matching.rows(e?, Navigation::Last(offset))),
            _ => matching.shifted(e?, by, before).map_err(|e| e.at(place(start(of)))),
        }
    }

    /// Binds MATCH_ROWTIME. Its type is that of its argument.
    fn match_row_time(&mut self, column: Option<&Ast>, scope: &Scope) -> Result<Expr> {
        let name = "MATCH_ROWTIME()";
        let argument = column.map(|e| self.expr(e, scope, &mut None)).transpose()?;
        let Some(matching) = &self.matching else { return Err(Error::internal("the time of no match")) };
        let Some(row_time) = matching.row_time else {
            let e = Error::script(format!("{name} is of matches in the order of event time"));
            return Err(e.hint("MATCH_PROCTIME() is of those in processing time"));
        };
        if matching.defines.is_some() {
            return Err(Error::script(format!("{name} stands in MEASURES")).hint("DEFINE reads the times of rows"));
        }
        let ty = match argument {
            None => SqlType::from(TypeKind::Timestamp(3)),
            Some(Expr::Column { index, ty, .. }) if index < LOOKS && matching.rows_of(index).1 == row_time => ty,
            Some(e) => {
                let e = Error::script(format!("MATCH_ROWTIME takes the column of ORDER BY, and not {e}"));
                return Err(e.hint(format!("MATCH_ROWTIME({})", matching.input.fields[row_time].name)));
            }
        };
        Ok(self.look(What::Time, ty.not_null(), name).unwrap_or_else(|| Expr::literal(Value::Null, SqlType::BOOLEAN)))
    }

    /// Binds the interval of WITHIN, in milliseconds.
    fn match_within(&mut self, interval: &Ast) -> Result<i64> {
        let at = place(start(interval));
        match self.expr(interval, &Scope::default(), &mut None)? {
            Expr::Literal { value: Value::Int(millis), ty } if ty.kind == TypeKind::IntervalDay && millis > 0 => {
                Ok(millis)
            }
            e if e.ty().kind == TypeKind::IntervalMonth => {
                let e = Error::script("WITHIN takes no months, whose lengths differ").at(at);
                Err(e.hint("days are the longest unit: INTERVAL '30' DAY"))
            }
            e => {
                let e = Error::script(format!("WITHIN takes a constant interval greater than 0, and not {e}")).at(at);
                Err(e.hint("WITHIN INTERVAL '10' MINUTE"))
            }
        }
    }

    /// The column of the input that an expression is.
    fn match_column(&mut self, ast: &Ast, scope: &Scope, what: &str) -> Result<usize> {
        match self.expr(ast, scope, &mut None)? {
            Expr::Column { index, .. } => Ok(index),
            e => {
                let e = Error::script(format!("{what} of MATCH_RECOGNIZE takes columns, and {e} is none"));
                Err(e.at(place(start(ast))).hint("compute it in a query: FROM (SELECT …) MATCH_RECOGNIZE (…)"))
            }
        }
    }

    /// Binds ORDER BY: the time, ascending, and then further columns.
    fn match_order(&mut self, input: &Plan, scope: &Scope, keys: &[OrderByExpr]) -> Result<(WindowTime, Vec<SortKey>)> {
        let derived = derive(input, Mode::Streaming);
        let (times, changes) = (&derived.traits.times, !derived.traits.changelog.is_insert_only());
        let mut order = vec![];
        for key in keys {
            let (e, descending, nulls_first) = self.sort_key(key, scope, &mut None)?;
            let Expr::Column { index: column, .. } = e else {
                let e = Error::script(format!("ORDER BY of MATCH_RECOGNIZE takes columns, and {e} is none"));
                return Err(e.at(place(start(&key.expr))));
            };
            order.push((SortKey { column, descending, nulls_first }, place(start(&key.expr))));
        }
        let Some((first, at)) = order.first().copied() else {
            let e = Error::script("MATCH_RECOGNIZE needs the order of its rows");
            return Err(e.hint("MATCH_RECOGNIZE (PARTITION BY … ORDER BY ts …), where ts is a column with a WATERMARK"));
        };
        let f = &input.schema().fields[first.column];
        let Some(domain) = time_domain(first.column, times) else {
            if changes {
                return Err(matches_of_changes());
            }
            let e = format!(
                "MATCH_RECOGNIZE is in the order of time, and '{}' is {} without a watermark",
                f.name, f.ty.kind
            );
            return Err(Error::script(e).at(at).hint(format!(
                "order by the time first; declare it in the table: WATERMARK FOR {0} AS {0} - INTERVAL '5' SECOND",
                f.name
            )));
        };
        if first.descending {
            return Err(Error::script("MATCH_RECOGNIZE is in the ascending order of time")
                .at(at)
                .hint("ORDER BY … ASC"));
        }
        let local = domain == TimeDomain::Processing || matches!(f.ty.kind, TypeKind::TimestampLtz(_));
        let rest = order.into_iter().skip(1).map(|(key, _)| key).collect();
        Ok((WindowTime { column: first.column, domain, local }, rest))
    }
}

/// Where the matches go that are not complete in time, if a table whose rows are matched says so.
fn timed_out(
    input: &Plan,
    partition: &[usize],
    within: Option<i64>,
    measures: &[(String, Expr)],
) -> Result<Option<TimedOut>> {
    let (mut found, mut next, mut seen): (Option<TimedOut>, _, BTreeSet<usize>) = (None, vec![input], BTreeSet::new());
    while let Some(plan) = next.pop() {
        match plan {
            // The pattern below has its own.
            Plan::Match { .. } => continue,
            Plan::Shared(shared) if !seen.insert(shared.id) => continue,
            _ => next.extend(plan.inputs()),
        }
        let Plan::Scan { table, .. } = plan else { continue };
        let place = table.places.get(TIMED_OUT.key()).copied().or(table.place);
        let Some(to) = TIMED_OUT.given(&table.options).map_err(|e| e.at(place))? else { continue };
        if within.is_none() {
            let e = Error::script(format!("'{}' is given, and the PATTERN has no WITHIN", TIMED_OUT.key())).at(place);
            return Err(e.hint("only WITHIN ends matches that are not complete: PATTERN (…) WITHIN INTERVAL '1' HOUR"));
        }
        match &found {
            Some(other) if other.table != to => {
                let e = format!("timed-out matches of the same rows go to '{}' and to '{to}'", other.table);
                return Err(Error::script(e)
                    .at(place)
                    .hint(format!("give both tables the same '{}'", TIMED_OUT.key())));
            }
            Some(_) => {}
            None => {
                let measures = measures.iter().map(|(name, e)| (name.clone(), over_looks(e.clone(), partition.len())));
                found = Some(TimedOut { table: to, place, measures: measures.collect() });
            }
        }
    }
    Ok(found)
}

/// The matches of a pattern, with these columns of the input.
fn matches_of(
    input: Plan,
    partition: Vec<usize>,
    time: WindowTime,
    order: Vec<SortKey>,
    matching: MatchRecognize,
    kept: &[usize],
) -> Plan {
    let looks = matching.measures.iter().enumerate().map(|(n, l)| Field::new(format!("${n}"), l.ty.clone()));
    let fields = kept.iter().map(|c| input.schema().fields[*c].clone()).chain(looks).collect();
    let (matching, schema, uids) = (Arc::new(matching), Schema::new(fields), StateUids::default());
    Plan::Match { input: Box::new(input), partition, time, order, matching, schema, uids }
}

/// An expression whose columns are what is read of rows, over columns that come behind others.
fn over_looks(e: Expr, behind: usize) -> Expr {
    e.rewrite(&mut |e| match e {
        Expr::Column { index, name, ty } if index >= LOOKS => Expr::Column { index: behind + index - LOOKS, name, ty },
        e => e,
    })
}

/// Reads an aggregate of rows, and returns its column.
fn aggregate(call: Collected, matching: &mut MatchScope) -> Result<Expr> {
    let Collected { function, mut args, distinct, filter, ty } = call;
    let count = args.len();
    args.extend(filter);
    let looks = |e: &Expr| matches!(e, Expr::Column { index, .. } if *index >= LOOKS);
    if args.iter().any(|e| e.any(&looks)) {
        let e = Error::script(format!("FIRST, LAST and similar functions cannot stand inside {}", function.name()));
        return Err(e.hint("an aggregate reads the columns of a variable: SUM(A.price)"));
    }
    let (mut all, mut names): (Vec<RowsOf>, Vec<String>) = (vec![], vec![]);
    let args: Vec<Expr> = args
        .into_iter()
        .map(|e| {
            names.push(e.to_string());
            e.rewrite(&mut |e| match e {
                Expr::Column { index, name, ty } => {
                    let (of, column) = matching.rows_of(index);
                    if !all.contains(&of) {
                        all.push(of);
                    }
                    Expr::Column { index: column, name, ty }
                }
                e => e,
            })
        })
        .collect();
    let name = format!("{}({})", function.name(), if count == 0 { "*".to_string() } else { names.join(", ") });
    if all.len() > 1 {
        let e = Error::script(format!("{name} is of the rows of several variables"));
        return Err(e.hint("an aggregate is of one variable, or of a SUBSET of them"));
    }
    let of = all.pop().unwrap_or(RowsOf::All);
    let filter = (args.len() > count).then_some(count);
    let call = AggregateCall { function, args: (0..count).collect(), distinct, filter, ty: ty.clone() };
    // No row may belong to the variable.
    let counts = matches!(call.function, Aggregate::Count | Aggregate::CountStar);
    Ok(matching.look(What::Aggregate { of, args, call }, if counts { ty } else { ty.nullable(true) }, name))
}

/// Whether all rows of a match are wanted.
fn all_rows(rows: &Option<RowsPerMatch>) -> Result<bool> {
    match rows {
        None | Some(RowsPerMatch::OneRow) => Ok(false),
        Some(RowsPerMatch::AllRows(None)) => Ok(true),
        Some(RowsPerMatch::AllRows(Some(mode))) => {
            let e = Error::script(format!("ALL ROWS PER MATCH {mode} is not supported"));
            Err(e.hint("ALL ROWS PER MATCH gives the rows of matches, none of which is empty"))
        }
    }
}

/// The variables of SUBSET clauses.
fn subsets(symbols: &[SymbolDefinition], variables: &Variables) -> Result<Vec<(String, RowsOf)>> {
    let mut subsets: Vec<(String, RowsOf)> = vec![];
    for SymbolDefinition { definition, .. } in symbols.iter().filter(|s| clause(&s.symbol) == Some(Clause::Subset)) {
        let wrong = || {
            let e = Error::script("SUBSET names variables").at(place(start(definition)));
            e.hint("SUBSET S = (A, B)")
        };
        let Ast::BinaryOp { left, op: BinaryOperator::Eq, right } = definition else { return Err(wrong()) };
        let Ast::Identifier(name) = &**left else { return Err(wrong()) };
        check_name(name)?;
        let of: Vec<&Ast> = match &**right {
            Ast::Tuple(items) => items.iter().collect(),
            Ast::Nested(one) => vec![one],
            _ => return Err(wrong()),
        };
        let mut rows = vec![];
        for item in of {
            let Ast::Identifier(variable) = item else { return Err(wrong()) };
            rows.push(variables.find(variable, "SUBSET has a variable")?);
        }
        if variables.names.contains(&name.value) || subsets.iter().any(|(n, _)| *n == name.value) {
            let e = Error::script(format!("'{}' is already a variable", name.value));
            return Err(e.at(place(name.span.start)));
        }
        subsets.push((name.value.clone(), RowsOf::Variables(rows)));
    }
    Ok(subsets)
}

/// Where matching goes on. Without the clause it is at the next row, as in Flink.
fn skip(
    skip: Option<&AfterMatchSkip>,
    pattern: &Pattern,
    variables: &Variables,
    symbols: &[SymbolDefinition],
) -> Result<Skip> {
    let (name, first) = match skip {
        None | Some(AfterMatchSkip::ToNextRow) => return Ok(Skip::ToNextRow),
        Some(AfterMatchSkip::PastLastRow) => return Ok(Skip::PastLastRow),
        Some(AfterMatchSkip::ToFirst(name)) => (name, true),
        Some(AfterMatchSkip::ToLast(name)) => (name, false),
    };
    let found = subsets(symbols, variables)?.into_iter().find(|(n, _)| *n == name.value);
    let rows = match found {
        Some((_, RowsOf::Variables(rows))) => rows,
        _ => vec![variables.find(name, "AFTER MATCH SKIP TO has a variable")?],
    };
    if first && begins_with(pattern, &rows) {
        let e = Error::script(format!("AFTER MATCH SKIP TO FIRST {} leads to the first row of the match", name.value));
        return Err(e
            .at(place(name.span.start))
            .hint("it would match for ever; AFTER MATCH SKIP TO NEXT ROW and SKIP PAST LAST ROW fit every pattern"));
    }
    if !first && pattern.only_first(&RowsOf::Variables(rows.clone())) {
        let e = Error::script(format!("AFTER MATCH SKIP TO {} leads to the first row of the match", name.value));
        return Err(e.at(place(name.span.start)).hint("it would match for ever; AFTER MATCH SKIP TO NEXT ROW fits"));
    }
    Ok(if first { Skip::ToFirst(rows) } else { Skip::ToLast(rows) })
}

/// Whether the first row of every match belongs to one of these variables.
fn begins_with(pattern: &Pattern, variables: &[usize]) -> bool {
    match pattern {
        Pattern::Variable(v) => variables.contains(v),
        Pattern::Sequence(parts) => parts.first().is_some_and(|p| !p.may_be_empty() && begins_with(p, variables)),
        Pattern::Choice(parts) => parts.iter().all(|p| !p.may_be_empty() && begins_with(p, variables)),
        Pattern::Repeat { of, from, .. } => *from > 0 && begins_with(of, variables),
        Pattern::Excluded(of) => begins_with(of, variables),
    }
}

/// The first position within a pattern.
fn place_of(pattern: &MatchRecognizePattern) -> Option<Place> {
    let of = |s: &MatchRecognizeSymbol| match s {
        MatchRecognizeSymbol::Named(i) => place(i.span.start),
        MatchRecognizeSymbol::Start | MatchRecognizeSymbol::End => None,
    };
    match pattern {
        MatchRecognizePattern::Symbol(s) | MatchRecognizePattern::Exclude(s) => of(s),
        MatchRecognizePattern::Permute(all) => all.iter().find_map(of),
        MatchRecognizePattern::Concat(parts) | MatchRecognizePattern::Alternation(parts) => {
            parts.iter().find_map(place_of)
        }
        MatchRecognizePattern::Group(p) | MatchRecognizePattern::Repetition(p, _) => place_of(p),
    }
}

/// Binds the pattern of the clause. Returns whether it begins with the first row of a partition, and the pattern.
fn whole_pattern(
    written: &MatchRecognizePattern,
    all_rows: bool,
    variables: &mut Variables,
) -> Result<(bool, Pattern)> {
    let (at_start, rest) = anchored(written);
    let bound = match &rest {
        Some(rest) => pattern(rest, variables)?,
        None => Pattern::Sequence(vec![]),
    };
    check_pattern(&bound, written, variables)?;
    if bound.excludes() && !all_rows {
        let e = Error::script("an exclusion ({- -}) leaves rows out of ALL ROWS PER MATCH, which is not there");
        return Err(e.at(place_of(written)).hint("ONE ROW PER MATCH has only what MEASURES choose"));
    }
    Ok((at_start, bound))
}

/// Whether a pattern begins with the first row of a partition, and what follows; none if nothing does.
fn anchored(p: &MatchRecognizePattern) -> (bool, Option<MatchRecognizePattern>) {
    let start = |p: &MatchRecognizePattern| matches!(p, MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Start));
    match p {
        p if start(p) => (true, None),
        MatchRecognizePattern::Concat(parts) if parts.first().is_some_and(start) => {
            (true, Some(MatchRecognizePattern::Concat(parts[1..].to_vec())))
        }
        p => (false, Some(p.clone())),
    }
}

/// Binds a pattern, and collects its variables.
fn pattern(p: &MatchRecognizePattern, variables: &mut Variables) -> Result<Pattern> {
    let refused = |what: &str| Error::script(format!("{what} in a PATTERN is not supported")).at(place_of(p));
    let at_end = || {
        let e = Error::script("$ is the last row of a partition, and of a stream it is not known which one that is");
        e.at(place_of(p)).hint("end the PATTERN with a variable for the row that says so, or use WITHIN")
    };
    let mut variable = |s: &MatchRecognizeSymbol| match s {
        // Names may contain the character.
        MatchRecognizeSymbol::Named(name) if name.value == "$" && name.quote_style.is_none() => Err(at_end()),
        MatchRecognizeSymbol::Named(name) => {
            check_name(name)?;
            let names = &mut variables.names;
            let at = names.iter().position(|n| *n == name.value).unwrap_or_else(|| {
                names.push(name.value.clone());
                names.len() - 1
            });
            Ok(Pattern::Variable(at))
        }
        MatchRecognizeSymbol::Start => {
            let e = Error::script("^ stands at the beginning of the PATTERN: no row is in front of the first one");
            Err(e.at(place_of(p)).hint("in front of alternatives: PATTERN (^ (A | B) C)"))
        }
        MatchRecognizeSymbol::End => Err(at_end()),
    };
    match p {
        MatchRecognizePattern::Symbol(s) => variable(s),
        MatchRecognizePattern::Exclude(s) => Ok(Pattern::Excluded(Box::new(variable(s)?))),
        MatchRecognizePattern::Permute(symbols) => {
            if symbols.len() > PERMUTED {
                return Err(refused(&format!("PERMUTE of more than {PERMUTED} variables")));
            }
            let parts = symbols.iter().map(variable).collect::<Result<Vec<_>>>()?;
            let orders = permutations(&parts).into_iter().map(Pattern::Sequence);
            Ok(Pattern::Choice(orders.collect()))
        }
        MatchRecognizePattern::Concat(parts) => {
            Ok(Pattern::Sequence(parts.iter().map(|p| pattern(p, variables)).collect::<Result<_>>()?))
        }
        MatchRecognizePattern::Alternation(parts) => {
            Ok(Pattern::Choice(parts.iter().map(|p| pattern(p, variables)).collect::<Result<_>>()?))
        }
        MatchRecognizePattern::Group(p) => match excluded(p) {
            Some(of) => Ok(Pattern::Excluded(Box::new(pattern(of, variables)?))),
            None => pattern(p, variables),
        },
        MatchRecognizePattern::Repetition(of, quantifier) => {
            // A question mark behind a quantifier makes it reluctant.
            let (of, quantifier, greedy) = match (&**of, quantifier) {
                (MatchRecognizePattern::Repetition(of, q), RepetitionQuantifier::AtMostOne) => (of, q, false),
                _ => (of, quantifier, true),
            };
            if matches!(**of, MatchRecognizePattern::Repetition(..)) {
                let e = Error::script(format!("two quantifiers follow each other in the PATTERN: {p}"));
                return Err(e.at(place_of(p)).hint("put the first one into parentheses: (A{2})+"));
            }
            let (from, to) = match quantifier {
                RepetitionQuantifier::ZeroOrMore => (0, None),
                RepetitionQuantifier::OneOrMore => (1, None),
                RepetitionQuantifier::AtMostOne => (0, Some(1)),
                RepetitionQuantifier::Exactly(n) => (*n, Some(*n)),
                RepetitionQuantifier::AtLeast(n) => (*n, None),
                RepetitionQuantifier::AtMost(n) => (0, Some(*n)),
                RepetitionQuantifier::Range(n, m) => (*n, Some(*m)),
            };
            if to.is_some_and(|to| to < from || to == 0) {
                let e = Error::script(format!("the quantifier {quantifier} fits no rows")).at(place_of(p));
                return Err(e.hint("{2,3} is two or three rows"));
            }
            Ok(Pattern::Repeat { of: Box::new(pattern(of, variables)?), from, to, greedy })
        }
    }
}

/// All orders of some parts, those first in which the earlier parts come first.
fn permutations(parts: &[Pattern]) -> Vec<Vec<Pattern>> {
    if parts.is_empty() {
        return vec![vec![]];
    }
    let mut all = vec![];
    for n in 0..parts.len() {
        let mut rest = parts.to_vec();
        let first = rest.remove(n);
        all.extend(permutations(&rest).into_iter().map(|order| [vec![first.clone()], order].concat()));
    }
    all
}

/// Rejects the patterns that Flink rejects because of how they are repeated, and those that are too large.
fn check_pattern(pattern: &Pattern, written: &MatchRecognizePattern, variables: &Variables) -> Result<()> {
    let (at, shown) = (place_of(written), || pattern.shown(&variables.names));
    if pattern.size() > SIZE {
        let e = Error::script(format!("the PATTERN has more than {SIZE} rows")).at(at);
        return Err(e.hint("WITHIN bounds a match by time instead; + and * are without a bound"));
    }
    if pattern.may_be_empty() {
        let e = Error::script(format!("the PATTERN ({}) may match no rows at all, which is not supported", shown()));
        return Err(e.at(at).hint("at least one variable has to be there: A+ rather than A*, A rather than A?"));
    }
    if let Some((greedy, optional)) = optional_behind_greedy(pattern) {
        let (greedy, optional) = (greedy.shown(&variables.names), optional.shown(&variables.names));
        let e = format!("in the PATTERN, the optional {optional} follows the greedy quantifier of {greedy}");
        return Err(Error::script(e)
            .at(at)
            .hint(format!("make the quantifier before it reluctant ({greedy}?), or what follows it required")));
    }
    if pattern.ends_greedy() {
        let e = format!("the PATTERN ({}) ends with a greedy quantifier, so that no match would be certain", shown());
        return Err(Error::script(e)
            .at(at)
            .hint("end it with a variable for the row that follows (A+ B), or make the quantifier reluctant (A+?)"));
    }
    Ok(())
}

/// A greedy repetition and the optional part that follows it, which Flink rejects.
fn optional_behind_greedy(pattern: &Pattern) -> Option<(&Pattern, &Pattern)> {
    let optional = |p: &Pattern| matches!(p, Pattern::Repeat { from: 0, to: None | Some(1), .. });
    match pattern {
        Pattern::Variable(_) => None,
        Pattern::Sequence(parts) => {
            let bare = parts.iter().map(Pattern::bare);
            let pair = bare.clone().zip(bare.skip(1)).find(|(a, b)| a.is_greedy() && optional(b));
            pair.or_else(|| parts.iter().find_map(optional_behind_greedy))
        }
        Pattern::Choice(parts) => parts.iter().find_map(optional_behind_greedy),
        Pattern::Repeat { of, .. } | Pattern::Excluded(of) => optional_behind_greedy(of),
    }
}
