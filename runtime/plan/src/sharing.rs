//! Combines the statements of a script into one job. What they have in common is read and computed once, and its state gets a common uid.
//!
//! Every operator with state has a name in its statement, which never depends on the rest of the script. If one operator serves several
//! names, its uid is derived from all of them, and each run records the uid of each name. A statement that is added later has no recorded
//! uid, so it cannot join statements that have one.

use crate::fingerprint::{write_event_time, write_own};
use crate::logical::{Insert, Plan, Rewritten, Shared, StateUids};
use crate::merge::merge_top;
use crate::merged_windows::merge_windows;
use crate::optimize::select;
use crate::settings::{SOURCES, SUB_PLANS};
use crate::table::Table;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use weir_core::descriptor::TIMED_OUT;
use weir_core::windows::Windows;
use weir_core::{Error, Result};
use weir_expr::Expr;
use weir_expr::structure::{VERSION, write_text};
use xxhash_rust::xxh3::xxh3_64;

/// The prefix of the uids of operators that serve several names. No table's name begins with it.
pub const SHARED: &str = "shared#";

/// The uids of the operators with state, by their names in the statements.
pub type OperatorUids = BTreeMap<String, String>;

/// The statements of a script, combined into one job.
#[derive(Debug)]
pub struct Together {
    /// The statements. Relations that several of them read are [`Plan::Shared`].
    pub inserts: Vec<Insert>,
    /// The uids of the operators of their relations.
    pub places: OperatorUids,
    /// The uids whose state begins as a copy of another's: from, to.
    pub copies: Vec<(String, String)>,
    /// Tables that statements have read up to different positions, so that each position has a source of its own.
    pub apart: Vec<String>,
}

/// Combines statements into one job. `places` has the uids that an earlier run of the job recorded.
///
/// # Errors
/// If a setting is invalid. Otherwise an internal error.
pub fn share(inserts: &[Insert], settings: &BTreeMap<String, String>, places: &OperatorUids) -> Result<Together> {
    let (sub_plans, sources) = (SUB_PLANS.value(settings)?, SOURCES.value(settings)?);
    let mut classes = Classes { places, sub_plans, all: vec![], known: HashMap::new(), moved: HashMap::new() };
    let mut tops = vec![];
    for (n, insert) in inserts.iter().enumerate() {
        let shares = sub_plans && !insert.plan.sends_records();
        let (identity, named, numbers) = (insert.identity.to_string(), HashMap::new(), BTreeMap::new());
        let mut statement = Statement { identity, shares, named, numbers };
        let plan = merge_windows(insert.plan.clone(), &mut Rewritten::default());
        let (top, scan) = classes.class(plan, &mut statement)?;
        classes.all[top].read_by(Reader::Statement(n), scan);
        tops.push(top);
    }
    if sources {
        classes.unite_scans()?;
    } else {
        classes.split_scans();
    }
    let copies = classes.name();
    let apart = if sources { classes.apart() } else { vec![] };
    let readers = classes.readers(&tops);
    let mut made = HashMap::new();
    let mut all = vec![];
    for (n, (insert, top)) in inserts.iter().zip(tops).enumerate() {
        let plan = classes.plan(Reader::Statement(n), top, &readers, &mut made)?;
        all.push(Insert { plan, ..insert.clone() });
    }
    let mut places = OperatorUids::new();
    for uids in classes.all.into_iter().map(|c| c.uids) {
        places.extend(uids.names.into_iter().map(|name| (name, uids.uid.clone())));
    }
    Ok(Together { inserts: all, places, copies, apart })
}

/// A reader of a relation: another relation, or the sink of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Reader {
    Class(usize),
    Statement(usize),
}

/// A class of equal relations, which are planned as one.
struct Class {
    /// One of the relations, without its inputs.
    plan: Plan,
    /// The classes of its inputs.
    inputs: Vec<usize>,
    /// Whether it may serve several statements.
    shares: bool,
    /// The names of its state in the statements.
    names: BTreeSet<String>,
    /// The recorded uid of its state, if there is one.
    place: Option<String>,
    /// For a scan, its readers, with the name of the scan in the reader's statement.
    readers: Vec<(Reader, String)>,
    /// The scan that reads the columns of this one and of others.
    united: Option<usize>,
    /// The uid and names of its operator.
    uids: StateUids,
}

impl Class {
    fn new(plan: Plan, inputs: Vec<usize>, shares: bool, place: Option<String>) -> Class {
        let (names, readers, uids) = (BTreeSet::new(), vec![], StateUids::default());
        Class { plan, inputs, shares, names, place, readers, united: None, uids }
    }

    fn read_by(&mut self, reader: Reader, scan: Option<String>) {
        self.readers.extend(scan.map(|name| (reader, name)));
    }
}

/// The key by which relations are equal. Relations with state of different uids are never equal.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    own: Vec<u8>,
    inputs: Vec<usize>,
    place: Option<String>,
}

/// A statement during the traversal.
struct Statement {
    identity: String,
    /// Whether it shares relations with other statements.
    shares: bool,
    /// The classes of its shared relations, by their numbers, each with its name if it is a scan.
    named: HashMap<usize, (usize, Option<String>)>,
    /// The number of operators of each kind so far.
    numbers: BTreeMap<&'static str, usize>,
}

struct Classes<'a> {
    places: &'a OperatorUids,
    sub_plans: bool,
    all: Vec<Class>,
    known: HashMap<Key, usize>,
    /// The scans that readers use instead of a common one.
    moved: HashMap<(Reader, usize), usize>,
}

/// The kind of a relation whose operator has state, as used in its name.
fn kind(plan: &Plan) -> Option<&'static str> {
    match plan {
        Plan::Scan { .. } => Some("source"),
        Plan::Values { .. } => Some("values"),
        Plan::Aggregate { .. } => Some("aggregate"),
        Plan::Normalize { .. } => Some("normalize"),
        Plan::Join { .. } => Some("join"),
        Plan::Rank { .. } => Some("rank"),
        Plan::Over { .. } => Some("over"),
        Plan::Match { .. } => Some("match"),
        Plan::Sort { .. } => Some("sort"),
        Plan::Window { windows: Windows::Session { .. }, merged: false, .. } => Some("session"),
        Plan::Calc { .. }
        | Plan::Expand { .. }
        | Plan::Lookup { .. }
        | Plan::Unnest { .. }
        | Plan::Window { .. }
        | Plan::Union { .. }
        | Plan::Shared(_) => None,
    }
}

/// Whether a relation itself may have readers in several statements.
fn may_be_shared(plan: &Plan) -> bool {
    match plan {
        // Constants cost nothing.
        Plan::Values { .. } => false,
        Plan::Calc { .. } | Plan::Join { .. } | Plan::Match { .. } => {
            plan.expressions().into_iter().all(Expr::deterministic)
        }
        // A replay of dead letters feeds a single statement.
        Plan::Scan { table, .. } => table.on_error.dead_letters.is_none(),
        Plan::Expand { .. }
        | Plan::Aggregate { .. }
        | Plan::Normalize { .. }
        | Plan::Lookup { .. }
        | Plan::Unnest { .. }
        | Plan::Rank { .. }
        | Plan::Window { .. }
        | Plan::Over { .. }
        | Plan::Sort { .. }
        | Plan::Union { .. }
        | Plan::Shared(_) => true,
    }
}

/// Appends everything that a table's declaration and its hints define.
fn write_whole(table: &Table, out: &mut Vec<u8>) {
    let Table { name, physical, metadata, written: _, columns: _, primary_key, partitioned_by, options, .. } = table;
    let mut text = String::new();
    // Patterns have taken this one over; it does not concern the scan.
    let options: Vec<_> = options.iter().filter(|(key, _)| *key != TIMED_OUT.key()).collect();
    let all = (name, physical, metadata, primary_key, partitioned_by, options, &table.on_error);
    // Writing into a string never fails.
    let _ = write!(text, "{all:?}");
    out.extend_from_slice(text.as_bytes());
    write_event_time(table, out);
}

/// Encodes the relation itself, without its inputs.
fn own(plan: &Plan) -> Vec<u8> {
    let mut out = vec![];
    write_own(plan, &mut out);
    let types: Vec<_> = plan.schema().fields.iter().map(|f| &f.ty).collect();
    out.extend_from_slice(format!("{types:?}").as_bytes());
    if let Some((table, _)) = plan.table() {
        write_whole(table, &mut out);
    }
    match plan {
        Plan::Aggregate { ttl, .. } => write_ttl(&[*ttl], &mut out),
        Plan::Join { ttl, .. } => write_ttl(ttl, &mut out),
        Plan::Lookup { retry, .. } => out.extend_from_slice(format!("{retry:?}").as_bytes()),
        Plan::Match { matching, .. } => {
            if let Some(timed_out) = &matching.timed_out {
                write_text(&timed_out.table, &mut out);
                timed_out.measures.iter().for_each(|(name, _)| write_text(name, &mut out));
            }
        }
        _ => {}
    }
    for e in plan.expressions() {
        // A function may have been dropped and declared again with the same name.
        e.each_call(&mut |f| {
            if f.is_user_defined() {
                out.extend_from_slice(&(Arc::as_ptr(f).cast::<()>() as usize).to_le_bytes());
            }
        });
    }
    out
}

/// Appends times to live.
fn write_ttl(ttl: &[Option<u64>], out: &mut Vec<u8>) {
    ttl.iter().for_each(|ttl| out.extend_from_slice(format!("{ttl:?}").as_bytes()));
}

impl Classes<'_> {
    /// The class of a relation, and its name if it is a scan. Names are numbered in the order in which the statement alone would be
    /// planned.
    fn class(&mut self, mut plan: Plan, statement: &mut Statement) -> Result<(usize, Option<String>)> {
        if let Plan::Shared(shared) = &plan {
            if let Some(known) = statement.named.get(&shared.id) {
                return Ok(known.clone());
            }
            let class = self.class(shared.plan.clone(), statement)?;
            statement.named.insert(shared.id, class.clone());
            return Ok(class);
        }
        let name = kind(&plan).map(|kind| {
            let n = statement.numbers.entry(kind).or_insert(0);
            *n += 1;
            format!("{}/{kind}-{n}", statement.identity)
        });
        let mut inputs = vec![];
        for input in plan.inputs_mut()? {
            inputs.push(self.class(std::mem::replace(input, Plan::nothing()), statement)?);
        }
        let below: Vec<usize> = inputs.iter().map(|(class, _)| *class).collect();
        let place = name.as_ref().and_then(|n| self.places.get(n).cloned());
        let shares = self.sub_plans
            && statement.shares
            && may_be_shared(&plan)
            && below.iter().all(|class| self.all[*class].shares);
        let key = shares.then(|| Key { own: own(&plan), inputs: below.clone(), place: place.clone() });
        let at = match key.as_ref().and_then(|key| self.known.get(key)) {
            Some(at) => *at,
            None => {
                let at = self.all.len();
                self.all.push(Class::new(plan, below, shares, place));
                self.known.extend(key.map(|key| (key, at)));
                at
            }
        };
        for (class, scan) in inputs {
            self.all[class].read_by(Reader::Class(at), scan);
        }
        let scan = name.clone().filter(|_| matches!(self.all[at].plan, Plan::Scan { .. }));
        self.all[at].names.extend(name);
        Ok((at, scan))
    }

    /// The scans of each table with the same recorded uid, by everything that the table's declaration defines.
    fn scans(&self) -> BTreeMap<(Vec<u8>, Option<String>), Vec<usize>> {
        let mut scans: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, class) in self.all.iter().enumerate() {
            if let Plan::Scan { table, .. } = &class.plan
                && class.shares
            {
                let mut whole = vec![];
                write_whole(table, &mut whole);
                scans.entry((whole, class.place.clone())).or_default().push(at);
            }
        }
        scans
    }

    /// Replaces all scans of a table with the same recorded uid by one that reads the columns of all.
    fn unite_scans(&mut self) -> Result<()> {
        for ((_, place), scans) in self.scans().into_iter().filter(|(_, scans)| scans.len() > 1) {
            let (mut united, mut names) = (BTreeSet::new(), BTreeSet::new());
            let mut of = None;
            for at in &scans {
                let (table, columns) = self.scan(*at)?;
                united.extend(columns);
                names.extend(self.all[*at].names.clone());
                of = Some(table);
            }
            let Some(table) = of else { continue };
            let columns: Vec<usize> = united.into_iter().collect();
            let schema = table.scanned().project(&columns);
            let plan = Plan::Scan { table, columns, schema, uids: StateUids::default() };
            let all = self.all.len();
            self.all.push(Class { names, ..Class::new(plan, vec![], true, place) });
            for at in scans {
                (self.all[at].united, self.all[at].place) = (Some(all), None);
            }
        }
        Ok(())
    }

    fn scan(&self, at: usize) -> Result<(Arc<Table>, Vec<usize>)> {
        match &self.all[at].plan {
            Plan::Scan { table, columns, .. } => Ok((table.clone(), columns.clone())),
            other => Err(Error::internal(format!("a scan that is {other:?}"))),
        }
    }

    /// Gives each reader of a scan its own one. Readers that use the same name in a statement stay together.
    fn split_scans(&mut self) {
        for at in 0..self.all.len() {
            let mut parts: Vec<(HashSet<Reader>, BTreeSet<String>)> = vec![];
            for (reader, name) in self.all[at].readers.clone() {
                let (mut readers, mut names) = (HashSet::from([reader]), BTreeSet::from([name]));
                parts.retain(|(r, n)| {
                    let apart = r.is_disjoint(&readers) && n.is_disjoint(&names);
                    if !apart {
                        readers.extend(r);
                        names.extend(n.iter().cloned());
                    }
                    apart
                });
                parts.push((readers, names));
            }
            for (readers, names) in parts.into_iter().skip(1) {
                let own = self.all.len();
                self.all[at].names.retain(|n| !names.contains(n));
                let (plan, place) = (self.all[at].plan.clone(), self.all[at].place.clone());
                self.all.push(Class { names, ..Class::new(plan, vec![], true, place) });
                self.moved.extend(readers.into_iter().map(|r| ((r, at), own)));
            }
        }
    }

    /// Assigns a uid to each operator: the recorded one of its state, unless others have the same. These continue with copies of the state.
    fn name(&mut self) -> Vec<(String, String)> {
        let mut at_place: HashMap<String, usize> = HashMap::new();
        for class in &self.all {
            class.place.iter().for_each(|p| *at_place.entry(p.clone()).or_insert(0) += 1);
        }
        let mut copies = vec![];
        for class in self.all.iter_mut().filter(|c| c.united.is_none()) {
            let Some(kind) = kind(&class.plan) else { continue };
            let names: Vec<String> = class.names.iter().cloned().collect();
            let own = match names.as_slice() {
                [name] => name.clone(),
                names => format!("{SHARED}v{VERSION}-{:016x}/{kind}", xxh3_64(names.join("\n").as_bytes())),
            };
            let uid = match class.place.take() {
                Some(place) if at_place.get(&place) == Some(&1) => place,
                Some(place) => {
                    copies.push((place, own.clone()));
                    own
                }
                None => own,
            };
            class.uids = StateUids { uid, names };
        }
        copies
    }

    /// See [`Together::apart`].
    fn apart(&self) -> Vec<String> {
        let mut readers: BTreeMap<Vec<u8>, BTreeSet<&str>> = BTreeMap::new();
        let mut names: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for class in self.all.iter().filter(|c| c.shares && c.united.is_none()) {
            if let Plan::Scan { table, .. } = &class.plan {
                let mut whole = vec![];
                write_whole(table, &mut whole);
                names.insert(whole.clone(), table.name.clone());
                readers.entry(whole).or_default().insert(&class.uids.uid);
            }
        }
        let several = readers.into_iter().filter(|(_, uids)| uids.len() > 1);
        several.filter_map(|(whole, _)| names.remove(&whole)).collect()
    }

    /// The class that a reader uses instead of another one.
    fn read(&self, reader: Reader, class: usize) -> usize {
        let class = self.moved.get(&(reader, class)).copied().unwrap_or(class);
        self.all[class].united.unwrap_or(class)
    }

    /// The number of readers of each class.
    fn readers(&self, tops: &[usize]) -> Vec<usize> {
        let mut readers = vec![0; self.all.len()];
        for (n, top) in tops.iter().enumerate() {
            readers[self.read(Reader::Statement(n), *top)] += 1;
        }
        for (at, class) in self.all.iter().enumerate() {
            class.inputs.iter().for_each(|input| readers[self.read(Reader::Class(at), *input)] += 1);
        }
        readers
    }

    /// The relation of a class, as read by a reader.
    fn plan(
        &self,
        reader: Reader,
        class: usize,
        readers: &[usize],
        made: &mut HashMap<usize, Arc<Shared>>,
    ) -> Result<Plan> {
        let at = self.read(reader, class);
        let plan = match made.get(&at) {
            Some(shared) => Plan::Shared(shared.clone()),
            None => {
                let mut plan = self.all[at].plan.clone();
                for (place, input) in plan.inputs_mut()?.into_iter().zip(&self.all[at].inputs) {
                    *place = self.plan(Reader::Class(at), *input, readers, made)?;
                }
                if let Some(uids) = plan.uids_mut() {
                    *uids = self.all[at].uids.clone();
                }
                let projects = self.all[at].inputs.iter().any(|i| self.all[*i].united.is_some());
                let plan = if projects { merge_top(plan) } else { plan };
                if readers[at] > 1 {
                    let shared = Arc::new(Shared { id: at, plan });
                    made.insert(at, shared.clone());
                    Plan::Shared(shared)
                } else {
                    plan
                }
            }
        };
        if self.all[class].united.is_none() {
            return Ok(plan);
        }
        let ((_, have), (_, wanted)) = (self.scan(at)?, self.scan(class)?);
        Ok(select(plan, have, &wanted.into_iter().collect())?.0)
    }
}
