//! Binds windows over time: the table functions TUMBLE, HOP, CUMULATE and SESSION, and the older form in GROUP BY.

use super::not_yet;
use crate::aggregates::Collector;
use crate::catalog::idents;
use crate::forms::{Form, TableArgument};
use crate::names::{Binder, Scope};
use crate::older_window::OlderWindow;
use crate::places::{place, start};
use sqlparser::ast::{
    Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, ObjectName, Spanned,
};
use weir_core::error::Place;
use weir_core::keyed::TimeDomain;
use weir_core::windows::Windows;
use weir_core::{Error, Field, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::Expr;
use weir_plan::{GroupWindow, Mode, Plan, StateUids, WindowTime, derive, time_domain, window_among};

/// The table functions, with the names of their arguments after the table and the time.
const FUNCTIONS: [(&str, &[&str]); 4] = [
    ("TUMBLE", &["SIZE", "OFFSET"]),
    ("HOP", &["SLIDE", "SIZE", "OFFSET"]),
    ("CUMULATE", &["STEP", "SIZE", "OFFSET"]),
    ("SESSION", &["GAP"]),
];

/// The names of a window function's arguments after the table and the time; none if it is not a window function.
fn sizes_of(name: &str) -> Option<&'static [&'static str]> {
    FUNCTIONS.iter().find(|(n, _)| *n == name).map(|(_, sizes)| *sizes)
}

/// The table argument of a table function.
struct TableRows {
    plan: Plan,
    partition: Vec<usize>,
}

fn named(window: [&str; 3], time: &SqlType, domain: TimeDomain) -> [Field; 3] {
    let border = SqlType::from(TypeKind::Timestamp(3)).not_null();
    let moment = match (domain, &time.kind) {
        (TimeDomain::Processing, _) | (TimeDomain::Event, TypeKind::TimestampLtz(_)) => TypeKind::TimestampLtz(3),
        (TimeDomain::Event, _) => TypeKind::Timestamp(3),
    };
    let types = [border.clone(), border, SqlType::from(moment).not_null()];
    let [a, b, c] = window;
    let [x, y, z] = types;
    [Field::new(a, x), Field::new(b, y), Field::new(c, z)]
}

/// The time domain of a column, or the error for a window over a column without one.
fn domain_of(plan: &Plan, column: usize, function: &str, at: Option<Place>) -> Result<TimeDomain> {
    time_domain(column, &derive(plan, Mode::Streaming).traits.times).ok_or_else(|| {
        let f = &plan.schema().fields[column];
        let (name, ty) = (&f.name, &f.ty.kind);
        let e = format!(
            "{function} over '{name}' is not supported: it needs a time attribute, and '{name}' is {ty} without a watermark"
        );
        Error::script(e).at(at).hint(format!(
            "declare it in the table: WATERMARK FOR {} AS {} - INTERVAL '5' SECOND; or use a column AS PROCTIME()",
            f.name, f.name
        ))
    })
}

impl Binder<'_> {
    /// Binds `TUMBLE(TABLE t, DESCRIPTOR(c), …)` and the other window functions. Other table functions are not supported.
    pub(super) fn table_function(&mut self, name: &ObjectName, args: &[FunctionArg]) -> Result<Plan> {
        let written = idents(name).last().map(|i| i.value.clone()).unwrap_or_default();
        let (upper, at) = (written.to_ascii_uppercase(), place(name.span().start));
        let Some(sizes) = sizes_of(&upper) else {
            return Err(not_yet(&format!("the table function {written}")).at(at));
        };
        let all: Vec<&str> = ["DATA", "TIMECOL"].iter().chain(sizes).copied().collect();
        let args = by_name(&upper, args, &all, at)?;
        let given = |n: usize| args.get(n).copied().flatten();
        let required = |n: usize| {
            let missing = || Error::script(format!("{upper} lacks its argument {}", all[n])).at(at);
            given(n).ok_or_else(|| missing().hint(format!("{upper}({})", all.join(", "))))
        };
        let table = self.table_argument(&upper, required(0)?)?;
        let column = descriptor(&upper, &table.plan, required(1)?)?;
        let time_at = place(start(required(1)?));
        let mut lengths = vec![];
        for (n, name) in all.iter().enumerate().skip(2) {
            lengths.push(match given(n) {
                None if *name == "OFFSET" => 0,
                _ => self.length(&upper, required(n)?)?,
            });
        }
        let windows = windows(&upper, &lengths).ok_or_else(|| Error::internal("a window function without sizes"))?;
        let windows = windows.checked().map_err(|e| e.at(at))?;
        if !matches!(windows, Windows::Session { .. }) && !table.partition.is_empty() {
            let e = Error::script(format!("{upper} takes no PARTITION BY")).at(at);
            return Err(e.hint("its windows are those of all rows; group by the key, or partition what reads them"));
        }
        let domain = domain_of(&table.plan, column, &upper, time_at)?;
        Ok(window(table.plan, windows, column, domain, table.partition, ["window_start", "window_end", "window_time"]))
    }

    /// Binds `TABLE t [PARTITION BY …]`.
    fn table_argument(&mut self, function: &str, arg: &Ast) -> Result<TableRows> {
        let at = place(start(arg));
        let form = match arg {
            Ast::Value(v) => self.catalog.forms.of(&v.value),
            Ast::Subquery(q) => return Ok(TableRows { plan: self.query(q)?, partition: vec![] }),
            _ => None,
        };
        let Some(Form::Table { table, partition_by, order_by }) = form.as_deref() else {
            let e = Error::script(format!("{function} takes a table as its first argument")).at(at);
            return Err(e.hint("write TABLE name"));
        };
        let plan = match table {
            TableArgument::Query(q) => self.query(q)?,
            TableArgument::Named(parts) => self.relation(&ObjectName::from(parts.clone()))?.0,
        };
        if let Some(o) = order_by.first() {
            return Err(Error::script(format!("{function} takes no ORDER BY")).at(place(start(&o.expr))));
        }
        let partition = partition_by.iter().map(|e| column_of(&plan, e, "PARTITION BY")).collect::<Result<_>>()?;
        Ok(TableRows { plan, partition })
    }

    /// Binds a constant interval, in milliseconds.
    fn length(&mut self, function: &str, arg: &Ast) -> Result<i64> {
        let at = place(start(arg));
        match self.expr(arg, &Scope::default(), &mut None)? {
            Expr::Literal { value: Value::Int(millis), ty } if ty.kind == TypeKind::IntervalDay => Ok(millis),
            e if e.ty().kind == TypeKind::IntervalMonth => {
                let e = Error::script(format!("{function} takes no months, whose lengths differ")).at(at);
                Err(e.hint("days are the longest unit: INTERVAL '30' DAY"))
            }
            e => {
                let e = Error::script(format!("{function} takes constant intervals, and {e} is none")).at(at);
                Err(e.hint("INTERVAL '10' MINUTE"))
            }
        }
    }

    /// Binds a window function of the older form in a GROUP BY. The result is the input with the window's columns appended. Sessions are
    /// partitioned by the other `keys`.
    pub(super) fn older_window(&mut self, call: &Function, keys: &[&Ast], input: Plan, scope: &Scope) -> Result<Plan> {
        let name = idents(&call.name).last().map(|i| i.value.to_ascii_uppercase()).unwrap_or_default();
        let at = place(call.span().start);
        let Some((function, sizes)) = FUNCTIONS.iter().find(|(n, _)| *n == name) else {
            return Err(Error::internal("a window that is none"));
        };
        let (time, windows) = self.older_call(call, function, sizes, scope)?;
        // The time and the partition keys become columns.
        let mut columns = input.columns();
        let width = columns.len();
        let mut place_of = |e: Expr| match &e {
            Expr::Column { index, .. } => *index,
            _ => crate::over::column_of(e, &mut columns),
        };
        let column = place_of(time.clone());
        let mut partition = vec![];
        if matches!(windows, Windows::Session { .. }) {
            for key in keys {
                partition.push(place_of(self.expr(key, scope, &mut None)?));
            }
        }
        let input = if columns.len() > width { Plan::calc(input, None, columns) } else { input };
        let domain = domain_of(&input, column, function, at)?;
        let names = ["$window_start", "$window_end", "$window_time"];
        let plan = window(input, windows, column, domain, partition, names);
        let columns = plan.schema().len() - 3;
        let fields = named(names, &time.ty(), domain);
        self.older_window = Some(OlderWindow { function, windows, time, domain, columns, fields });
        Ok(plan)
    }

    /// Binds the time and the windows of `TUMBLE(time, size)` and similar calls.
    fn older_call(
        &mut self,
        call: &Function,
        function: &'static str,
        sizes: &'static [&'static str],
        scope: &Scope,
    ) -> Result<(Expr, Windows)> {
        let at = place(call.span().start);
        let args: Vec<&Ast> = positional(call);
        let sizes: Vec<&str> = sizes.iter().copied().filter(|s| *s != "OFFSET").collect();
        if args.len() > sizes.len() + 1 {
            let e = Error::script(format!("{function} in GROUP BY takes no offset")).at(at);
            return Err(
                e.hint(format!("the table function has one: FROM TABLE({function}(TABLE t, DESCRIPTOR(c), …))"))
            );
        }
        if args.len() <= sizes.len() {
            let e = Error::script(format!("{function} takes a time and {}", sizes.join(" and ").to_lowercase()));
            return Err(e.at(at));
        }
        let time = self.expr(args[0], scope, &mut None)?;
        let mut lengths = args[1..].iter().map(|a| self.length(function, a)).collect::<Result<Vec<_>>>()?;
        lengths.push(0);
        let windows = windows(function, &lengths).ok_or_else(|| Error::internal("a window function without sizes"))?;
        Ok((time, windows.checked().map_err(|e| e.at(at))?))
    }

    /// Binds `TUMBLE_START(time, size)` and similar calls, which refer to the window of the GROUP BY; none for other functions.
    pub(crate) fn of_older_window(
        &mut self,
        name: &str,
        call: &Function,
        scope: &Scope,
        agg: &mut Option<&mut Collector>,
    ) -> Result<Option<Expr>> {
        let at = place(call.span().start);
        if sizes_of(name).is_some() {
            let e = Error::script(format!("{name} stands in GROUP BY, or in FROM as a table function")).at(at);
            return Err(e.hint(format!("{name}_START and {name}_END give the window's borders")));
        }
        let Some((of, what)) = name.rsplit_once('_') else { return Ok(None) };
        let Some((function, sizes)) = FUNCTIONS.iter().find(|(n, _)| *n == of && *n != "CUMULATE") else {
            return Ok(None);
        };
        let Some(which) = ["START", "END", "ROWTIME", "PROCTIME"].iter().position(|w| *w == what) else {
            return Ok(None);
        };
        let (time, windows) = self.older_call(call, function, sizes, scope)?;
        let window = self.older_window.clone();
        let window = window.filter(|w| w.function == *function && w.windows == windows && w.time.same(&time));
        let Some(window) = window else {
            let e = Error::script(format!("{name} is of a window that the query does not group by")).at(at);
            return Err(e.hint(format!("GROUP BY {function} with the same arguments")));
        };
        if agg.as_ref().is_some_and(|c| c.inside) {
            return Err(Error::script(format!("{name} stands outside of aggregates")).at(at));
        }
        match (which, window.domain) {
            (0 | 1, _) | (2, TimeDomain::Event) => Ok(Some(window.column(which))),
            (2, TimeDomain::Processing) => {
                let e = Error::script(format!("{name} is of windows over event time")).at(at);
                Err(e.hint(format!("{function}_PROCTIME is of those over processing time")))
            }
            _ => self.call("PROCTIME", vec![]).map(Some),
        }
    }
}

/// The window function in an expression of GROUP BY, in the older form.
pub(super) fn older(e: &Ast) -> Option<&Function> {
    let Ast::Function(f) = e else { return None };
    let name = idents(&f.name).last().map(|i| i.value.to_ascii_uppercase())?;
    let unquoted = idents(&f.name).last().is_some_and(|i| i.quote_style.is_none());
    (unquoted && f.over.is_none() && name != "CUMULATE" && sizes_of(&name).is_some()).then_some(f)
}

/// The window of an aggregation, if its start and end are among the key columns.
pub(crate) fn group_window(input: &Plan, keys: &[usize]) -> Option<GroupWindow> {
    window_among(keys, &derive(input, Mode::Streaming).traits.times)
}

fn window(
    input: Plan,
    windows: Windows,
    column: usize,
    domain: TimeDomain,
    partition: Vec<usize>,
    names: [&str; 3],
) -> Plan {
    let ty = input.schema().fields[column].ty.clone();
    let local = domain == TimeDomain::Processing || matches!(ty.kind, TypeKind::TimestampLtz(_));
    let mut fields = input.schema().fields.clone();
    fields.extend(named(names, &ty, domain));
    let (time, schema) = (WindowTime { column, domain, local }, Schema::new(fields));
    Plan::Window { input: Box::new(input), windows, merged: false, time, partition, schema, uids: StateUids::default() }
}

fn windows(function: &str, lengths: &[i64]) -> Option<Windows> {
    Some(match (function, lengths) {
        ("TUMBLE", [size, offset, ..]) => Windows::Tumble { size: *size, offset: *offset },
        ("HOP", [slide, size, offset, ..]) => Windows::Hop { size: *size, slide: *slide, offset: *offset },
        ("CUMULATE", [step, size, offset, ..]) => Windows::Cumulate { size: *size, step: *step, offset: *offset },
        ("SESSION", [gap, ..]) => Windows::Session { gap: *gap },
        _ => return None,
    })
}

fn positional(f: &Function) -> Vec<&Ast> {
    let FunctionArguments::List(list) = &f.args else { return vec![] };
    let plain = |a| match a {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref e)) => Some(e),
        _ => None,
    };
    list.args.iter().filter_map(plain).collect()
}

/// Sorts arguments in the order of these names. They are given either by position or all by name.
fn by_name<'a>(
    function: &str,
    args: &'a [FunctionArg],
    names: &[&str],
    at: Option<Place>,
) -> Result<Vec<Option<&'a Ast>>> {
    let mut found = vec![None; names.len()];
    for (n, arg) in args.iter().enumerate() {
        let (which, e) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => (n, e),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), operator: FunctionArgOperator::RightArrow } => {
                let which = names.iter().position(|n| n.eq_ignore_ascii_case(&name.value));
                let unknown = || Error::script(format!("{function} has no argument {}", name.value));
                let hint = || format!("it has {}", names.join(", "));
                (which.ok_or_else(|| unknown().at(place(name.span.start)).hint(hint()))?, e)
            }
            other => return Err(Error::script(format!("{function} does not take {other}")).at(at)),
        };
        match found.get_mut(which) {
            None => {
                let wrong = Error::script(format!("{function} takes {} arguments at most", names.len()));
                return Err(wrong.at(place(start(e))).hint(format!("{function}({})", names.join(", "))));
            }
            Some(Some(_)) => {
                let wrong = Error::script(format!("{function} is given {} twice", names[which]));
                return Err(wrong.at(place(start(e))));
            }
            Some(free) => *free = Some(e),
        }
    }
    Ok(found)
}

/// The column in `DESCRIPTOR(c)`.
fn descriptor(function: &str, plan: &Plan, arg: &Ast) -> Result<usize> {
    let wrong = || {
        let e = Error::script(format!("{function} takes the column with the time as DESCRIPTOR(column)"));
        e.at(place(start(arg)))
    };
    let Ast::Function(f) = arg else { return Err(wrong()) };
    match (f.name.to_string().eq_ignore_ascii_case("DESCRIPTOR"), positional(f).as_slice()) {
        (true, [one]) => column_of(plan, one, "DESCRIPTOR"),
        _ => Err(wrong()),
    }
}

/// The column of a relation that an expression names.
fn column_of(plan: &Plan, e: &Ast, what: &str) -> Result<usize> {
    let at = place(start(e));
    let Ast::Identifier(i) = e else {
        return Err(Error::script(format!("{what} takes columns of the table, and {e} is none")).at(at));
    };
    let known: Vec<&str> = plan.schema().fields.iter().map(|f| f.name.as_str()).collect();
    plan.schema().position(&i.value).ok_or_else(|| {
        let e = Error::script(format!("{what} names column '{}', which the table has not", i.value)).at(at);
        match weir_core::error::nearest(&i.value, known.iter().copied()) {
            Some(n) => e.hint(format!("did you mean '{n}'?")),
            None => e.hint(format!("it has {}", known.join(", "))),
        }
    })
}
