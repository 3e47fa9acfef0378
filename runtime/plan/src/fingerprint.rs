//! Computes the fingerprint of a statement: a hash of the bound plan before optimization, independent of how the statement is written or
//! printed. Names of columns and relations, comments and wording do not affect it. Whatever decides which rows a source reads, or what is
//! computed from them, does.
//!
//! The hashed bytes are those of [`weir_expr::structure`] and the tags below. Both are frozen: whoever changes them must increase the
//! version that is part of every identity.

use crate::logical::{Plan, RowOrder};
use crate::table::Table;
use std::borrow::Cow;
use std::collections::HashMap;
use weir_core::frame::Frame;
use weir_core::join::AsOf;
use weir_core::option_spec::{OptionSpec, Type};
use weir_core::rank::SortKey;
use weir_core::secrets::masked;
use weir_core::windows::Windows;
use weir_expr::match_recognize::{Condition, Look, MatchRecognize, Pattern, RowsOf, Skip, What};
use weir_expr::structure::{write_call, write_expr, write_number, write_numbers, write_text, write_type};
use xxhash_rust::xxh3::xxh3_128;

/// URL parameters that say what is read, not how the system is reached.
const WHERE: &[&str] = &["currentSchema", "db"];

/// The part of an option's value that decides what is read. For an address this leaves out credentials and connection parameters. Other
/// values are unchanged.
fn deciding<'a>(option: Option<&OptionSpec>, value: &'a str) -> Cow<'a, str> {
    let address = || {
        let of_address = option.is_some_and(|o| matches!(o.ty, Type::Address));
        let (scheme, rest) = value.split_once("://").filter(|_| of_address)?;
        let rest = rest.split('#').next()?;
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        let host = host.rsplit('@').next()?;
        let uids: Vec<&str> =
            parameters.split('&').filter(|p| WHERE.contains(&p.split('=').next().unwrap_or_default())).collect();
        let mark = if uids.is_empty() { "" } else { "?" };
        Some(format!("{scheme}://{host}{path}{mark}{}", uids.join("&")))
    };
    address().map_or(Cow::Borrowed(value), Cow::Owned)
}

/// The options of a table that decide its content. Options for the connection, the speed and the handling of bad records do not.
fn decisive(table: &Table) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    table.options.iter().filter_map(|(key, value)| {
        let option = table.option(key);
        option.is_none_or(|o| o.decides).then(|| (key.as_str(), deciding(option, value)))
    })
}

/// Formats the options that decide a table's content. Secrets are masked.
pub(crate) fn what_table(table: &Table) -> String {
    decisive(table).map(|(k, v)| format!("'{k}' = '{}'", masked(&v))).collect::<Vec<_>>().join(", ")
}

/// Appends the identity of a table that is read or looked up in. Its columns have the names that the connector reads.
fn write_table(table: &Table, out: &mut Vec<u8>) {
    write_number(decisive(table).count(), out);
    for (key, value) in decisive(table) {
        write_text(key, out);
        write_text(&value, out);
    }
    write_number(table.physical.len(), out);
    for (f, metadata) in table.physical.fields.iter().zip(&table.metadata) {
        write_text(&f.name, out);
        write_type(&f.ty, out);
        write_text(metadata.as_deref().unwrap_or_default(), out);
    }
    write_numbers(&table.primary_key, out);
    write_numbers(&table.partitioned_by, out);
}

/// Appends the event time definition of a table, if it has one.
pub(crate) fn write_event_time(table: &Table, out: &mut Vec<u8>) {
    let Some(time) = &table.event_time else { return };
    write_number(time.column, out);
    time.computed.iter().for_each(|(_, e)| write_expr(e, out));
    write_expr(&time.watermark, out);
}

fn write_order(order: &[SortKey], out: &mut Vec<u8>) {
    write_number(order.len(), out);
    for key in order {
        write_number(key.column, out);
        out.extend_from_slice(&[u8::from(key.descending), u8::from(key.nulls_first)]);
    }
}

fn write_pattern(pattern: &Pattern, out: &mut Vec<u8>) {
    let several = |tag: u8, parts: &[Pattern], out: &mut Vec<u8>| {
        out.push(tag);
        write_number(parts.len(), out);
        parts.iter().for_each(|p| write_pattern(p, out));
    };
    match pattern {
        Pattern::Variable(v) => {
            out.push(0);
            write_number(*v, out);
        }
        Pattern::Sequence(parts) => several(1, parts, out),
        Pattern::Choice(parts) => several(2, parts, out),
        Pattern::Repeat { of, from, to, greedy } => {
            out.extend_from_slice(&[3, u8::from(*greedy)]);
            out.extend_from_slice(&from.to_le_bytes());
            out.extend_from_slice(&to.unwrap_or(u32::MAX).to_le_bytes());
            write_pattern(of, out);
        }
        Pattern::Excluded(of) => {
            out.push(4);
            write_pattern(of, out);
        }
    }
}

fn write_look(look: &Look, out: &mut Vec<u8>) {
    let rows = |of: &RowsOf, out: &mut Vec<u8>| match of {
        RowsOf::All => out.push(0),
        RowsOf::Variables(all) => {
            out.push(1);
            write_numbers(all, out);
        }
    };
    if look.whole {
        out.push(5);
    }
    match &look.what {
        What::Row { of, first, offset, shift, column } => {
            out.extend_from_slice(&[if *shift > 0 { 6 } else { 0 }, u8::from(*first)]);
            rows(of, out);
            write_numbers(&[*offset, shift.unsigned_abs() as usize, *column], out);
        }
        What::Aggregate { of, args, call } => {
            out.push(1);
            rows(of, out);
            write_number(args.len(), out);
            args.iter().for_each(|e| write_expr(e, out));
            write_call(call, out);
        }
        What::Time => out.push(2),
        What::Classifier => out.push(3),
        What::Number => out.push(4),
    }
    write_type(&look.ty, out);
}

/// Appends a pattern, and what is read of its matches. Variables are known by their numbers, but CLASSIFIER gives their names.
fn write_matching(matching: &MatchRecognize, out: &mut Vec<u8>) {
    let looks = |looks: &[Look], out: &mut Vec<u8>| {
        write_number(looks.len(), out);
        looks.iter().for_each(|l| write_look(l, out));
    };
    write_pattern(&matching.pattern, out);
    write_number(matching.define.len(), out);
    for condition in &matching.define {
        out.push(u8::from(condition.is_some()));
        if let Some(Condition { expr, looks: of }) = condition {
            write_expr(expr, out);
            looks(of, out);
        }
    }
    match &matching.skip {
        Skip::PastLastRow => out.push(0),
        Skip::ToNextRow => out.push(1),
        Skip::ToFirst(variables) => {
            out.push(2);
            write_numbers(variables, out);
        }
        Skip::ToLast(variables) => {
            out.push(3);
            write_numbers(variables, out);
        }
    }
    out.extend_from_slice(&matching.within.unwrap_or(-1).to_le_bytes());
    looks(&matching.measures, out);
    out.push(u8::from(matching.all_rows));
    if matching.looks().any(|l| matches!(l.what, What::Classifier)) {
        matching.variables.iter().for_each(|name| write_text(name, out));
    }
    if matching.at_start {
        out.push(1);
    }
    // What is kept of rows depends on what is read of matches that are not complete in time, but not where it goes.
    if let Some(timed_out) = &matching.timed_out {
        out.push(2);
        write_number(timed_out.measures.len(), out);
        timed_out.measures.iter().for_each(|(_, e)| write_expr(e, out));
    }
}

/// Appends the relation itself, without its inputs.
#[expect(clippy::too_many_lines, reason = "one flat match, an arm a relation")]
pub(crate) fn write_own(plan: &Plan, out: &mut Vec<u8>) {
    let exprs = |all: &[weir_expr::Expr], out: &mut Vec<u8>| {
        write_number(all.len(), out);
        all.iter().for_each(|e| write_expr(e, out));
    };
    match plan {
        Plan::Scan { table, columns, schema: _, uids: _ } => {
            out.push(0);
            write_table(table, out);
            write_numbers(columns, out);
            write_event_time(table, out);
        }
        Plan::Values { rows, schema: _, uids: _ } => {
            out.push(1);
            write_number(rows.len(), out);
            rows.iter().for_each(|r| exprs(r, out));
        }
        Plan::Calc { input: _, condition, exprs: all, schema: _ } => {
            out.push(2);
            exprs(condition.as_slice(), out);
            exprs(all, out);
        }
        Plan::Expand { input: _, sets, keys, schema: _ } => {
            out.push(3);
            write_number(sets.len(), out);
            sets.iter().for_each(|s| write_numbers(s, out));
            write_numbers(keys, out);
        }
        Plan::Aggregate { input: _, keys, calls, window, ttl: _, schema: _, uids: _ } => {
            out.push(4);
            write_numbers(keys, out);
            write_number(calls.len(), out);
            calls.iter().for_each(|c| write_call(c, out));
            if let Some(w) = window {
                write_numbers(&[w.start, w.end], out);
                out.extend_from_slice(&[w.domain as u8, u8::from(w.local)]);
                out.extend(w.merge.map(|_| 1));
            }
        }
        Plan::Window { input: _, windows, merged, time, partition, schema: _, uids: _ } => {
            out.push(10);
            let (shape, sizes) = match windows {
                Windows::Tumble { size, offset } => (0, vec![size, offset]),
                Windows::Hop { size, slide, offset } => (1, vec![size, slide, offset]),
                Windows::Cumulate { size, step, offset } => (2, vec![size, step, offset]),
                Windows::Session { gap } => (3, vec![gap]),
            };
            out.extend_from_slice(&[shape, time.domain as u8, u8::from(time.local)]);
            sizes.into_iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
            write_number(time.column, out);
            write_numbers(partition, out);
            // How windows are computed is decided later, and is not part of the fingerprint.
            out.extend(merged.then_some(1));
        }
        Plan::Normalize { input: _, keys, schema: _, uids: _ } => {
            out.push(5);
            write_numbers(keys, out);
        }
        // How often it is tried changes no state.
        Plan::Lookup { input: _, table, on, left, retry: _, keep, columns, schema: _ } => {
            out.extend_from_slice(&[6, u8::from(*left)]);
            write_table(table, out);
            write_numbers(&on.iter().flat_map(|(here, there)| [*here, *there]).collect::<Vec<_>>(), out);
            write_numbers(keep, out);
            write_numbers(columns, out);
        }
        Plan::Over { input: _, partition, order, frame, calls, schema: _, uids: _ } => {
            out.push(11);
            write_numbers(partition, out);
            let (kind, size) = match frame {
                Frame::AllTimes => (0, 0),
                Frame::AllRows => (1, 0),
                Frame::Times(millis) => (2, millis.unsigned_abs()),
                Frame::Rows(rows) => (3, *rows),
            };
            match order {
                RowOrder::Time(time) => {
                    write_number(time.column, out);
                    out.extend_from_slice(&[time.domain as u8, kind]);
                }
                RowOrder::Values(keys) => {
                    write_order(keys, out);
                    out.extend_from_slice(&[u8::MAX, kind]);
                }
            }
            out.extend_from_slice(&size.to_le_bytes());
            write_number(calls.len(), out);
            calls.iter().for_each(|c| write_call(c, out));
        }
        Plan::Sort { input: _, order, time, schema: _, uids: _ } => {
            out.push(12);
            write_order(order, out);
            write_numbers(time.as_slice(), out);
        }
        Plan::Join { left: _, right: _, kind, on, as_of, condition, ttl: _, schema: _, uids: _ } => {
            out.extend_from_slice(&[14, *kind as u8]);
            write_number(on.len(), out);
            for key in on {
                write_numbers(&[key.left, key.right], out);
                out.push(u8::from(key.nulls_equal));
            }
            match as_of {
                None => out.push(0),
                Some(AsOf::EventTime { left, right }) => {
                    out.push(1);
                    write_numbers(&[*left, *right], out);
                }
                Some(AsOf::ProcessingTime) => out.push(2),
            }
            exprs(condition.as_slice(), out);
        }
        Plan::Unnest { input: _, collection, keep, columns, left, schema: _ } => {
            out.extend_from_slice(&[13, u8::from(*left)]);
            write_number(*collection, out);
            write_numbers(keep, out);
            write_numbers(columns, out);
        }
        Plan::Match { input: _, partition, time, order, matching, schema: _, uids: _ } => {
            out.extend_from_slice(&[15, time.domain as u8]);
            write_number(time.column, out);
            write_numbers(partition, out);
            write_order(order, out);
            write_matching(matching, out);
        }
        Plan::Union { inputs: _, schema: _ } => out.push(7),
        Plan::Shared(_) => out.push(8),
        Plan::Rank { input: _, partition, order, ranks, number, schema: _, uids: _ } => {
            out.extend_from_slice(&[9, u8::from(*number)]);
            write_numbers(partition, out);
            write_order(order, out);
            out.extend_from_slice(&ranks.first.to_le_bytes());
            out.extend_from_slice(&ranks.last.unwrap_or(u64::MAX).to_le_bytes());
        }
    }
}

/// The fingerprint of a relation. `shared` has the fingerprints of the shared relations so far.
fn relation(plan: &Plan, shared: &mut HashMap<usize, u128>) -> u128 {
    if let Plan::Shared(one) = plan
        && let Some(known) = shared.get(&one.id)
    {
        return *known;
    }
    let mut out = vec![];
    write_own(plan, &mut out);
    let inputs = plan.inputs();
    write_number(inputs.len(), &mut out);
    for i in inputs {
        let input = relation(i, shared);
        out.extend_from_slice(&input.to_le_bytes());
    }
    if let Plan::Shared(one) = plan {
        // Two shared relations stay distinct even if they are equal.
        write_number(shared.len(), &mut out);
        shared.insert(one.id, xxh3_128(&out));
    }
    xxh3_128(&out)
}

/// The fingerprint of an INSERT whose windows emit early or late results, since their state also contains the last emitted results.
pub(crate) fn emitting(statement: u128) -> u128 {
    xxh3_128(&[&statement.to_le_bytes()[..], b"emits early and late"].concat())
}

/// The fingerprint of an INSERT. It covers the query and the primary key of the sink.
pub fn statement(sink: &Table, plan: &Plan) -> u128 {
    let mut out = relation(plan, &mut HashMap::new()).to_le_bytes().to_vec();
    write_numbers(&sink.primary_key, &mut out);
    let written = sink.sink_schema();
    write_number(written.len(), &mut out);
    written.fields.iter().for_each(|f| write_type(&f.ty, &mut out));
    xxh3_128(&out)
}
