//! MATCH_RECOGNIZE: rows of a partition that follow each other in time and fit a pattern. A row waits until the watermark has passed its
//! time. Which matches are found, and in which order, is as in Flink ([`matches`]).
//!
//! Rows that are due are processed in steps. A step has at most one row of each partition, so that the conditions of all partitions are
//! evaluated together. Conditions that only read the current row are evaluated for all rows at once.

mod automaton;
mod looks;
mod matches;
mod partition;
mod queue;
mod quick;

use crate::failed_rows::{FailedRows, user_functions};
use crate::late_rows::{LateRows, PASSED};
use crate::rank::put_sort_key;
use crate::row_numbers::RowNumbers;
use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use automaton::Automaton;
use looks::{Looks, Source};
use matches::{Path, Run, push};
use partition::{Partition, Partitions, Row};
use quick::Quick;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use weir_core::clock::Clock;
use weir_core::event_time::EventTime;
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::key::{Keys, decode_columns, decode_row, encode_row};
use weir_core::keyed::{DueValue, KeyedState, TimeDomain, TimeQueue, Timers};
use weir_core::rank::SortKey;
use weir_core::state::{Changes, Epoch};
use weir_core::watermarks::row_time;
use weir_core::{Batch, ColumnBuilder, Error, Result, Schema, Value};
use weir_expr::eval::condition;
use weir_expr::match_recognize::{Condition, MOST_OF_ENDLESS, MatchRecognize, RowsOf, What};
use weir_expr::{EvalContext, Expr, OnError, RowError, Session};

/// Creates operators that match patterns of rows.
#[derive(Clone)]
pub struct MatchRecognizeFactory {
    /// The columns of the partition.
    pub partition: Vec<usize>,
    /// The column with the rows' times.
    pub time: usize,
    /// Whether rows are ordered by event time, or in the order of arrival.
    pub domain: TimeDomain,
    /// The order of rows of the same time.
    pub order: Vec<SortKey>,
    /// The pattern, and what is read of matches.
    pub matching: Arc<MatchRecognize>,
    /// The input's columns.
    pub input: Schema,
    /// The columns of the output: those of the partition, or all of the input if all rows are emitted; then what is read of the matches.
    pub schema: Schema,
    /// The columns of matches that are not complete in time, if they are emitted: the partition, what is read of the matches, and the
    /// columns of [`weir_core::timed_out`].
    pub timed_out: Option<Schema>,
    /// The session.
    pub session: Arc<Session>,
    /// The handling of rows on which built-in functions fail.
    pub on_error: OnError,
    /// The statement of this operator, for dead letters.
    pub statement: String,
}

impl MatchRecognizeFactory {
    /// The columns that are kept of rows.
    fn kept(&self) -> Vec<usize> {
        match self.matching.all_rows {
            true => (0..self.input.len()).collect(),
            false => self.matching.columns().into_iter().collect(),
        }
    }
}

impl OperatorFactory for MatchRecognizeFactory {
    fn functions(&self) -> Vec<String> {
        user_functions(self.matching.expressions())
    }
    fn keeps_state(&self) -> bool {
        true
    }
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        let mut eval = EvalContext::new(self.session.clone()).with_clock(context.clock.clone());
        eval.on_error = self.on_error;
        let automaton = Automaton::new(&self.matching.pattern);
        let kept = self.kept();
        let arrow = |columns: &[usize]| columns.iter().map(|c| self.input.fields[*c].ty.arrow()).collect();
        let reach = self.matching.reach();
        let numbers = self.matching.looks().any(|l| matches!(l.what, What::Number));
        let stays = reach > 0 || numbers || self.matching.at_start;
        let variables = self.matching.variables.len() as u32;
        let partitions = Partitions { types: arrow(&kept), states: automaton.len(), variables, stays };
        let looks = |looks: &[_]| Looks::new(looks, &kept, &self.input, &self.matching.variables);
        let tests = self.matching.define.iter().enumerate().map(|(variable, c)| match c {
            None => Ok(Test::Always),
            Some(c) => Test::new(variable, c, automaton.asks(automaton.start()), &looks),
        });
        let tests = tests.collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Matching {
            looks_back: tests.iter().any(|t| matches!(t, Test::OfMatch { .. })),
            tests,
            measures: looks(&self.matching.measures)?,
            types: self.input.fields.iter().map(|f| f.ty.arrow()).collect(),
            key_types: arrow(&self.partition),
            automaton,
            kept,
            reach,
            endless: self.matching.is_endless(),
            state: KeyedState::open(partitions, &context, 0)?,
            waiting: TimeQueue::new(0, &context),
            timers: Timers::new(self.domain, &context),
            numbers: RowNumbers::new(&context),
            passed: i64::MIN,
            clock: context.clock.clone(),
            failed_rows: FailedRows::new(&context, &self.statement),
            late: LateRows::new(&context),
            plan: self.clone(),
            eval,
            context,
        }))
    }
}

/// The number of rows or timers that are processed at once.
const PAGE: usize = 8192;

/// How the condition of a variable is evaluated.
enum Test {
    /// It holds for every row.
    Always,
    /// For many rows together, since it only reads the row itself.
    OfRow(Expr),
    /// For each match that has begun.
    OfMatch { expr: Expr, quick: Option<Quick>, looks: Looks, schema: Schema },
}

impl Test {
    /// `asked_first` are the variables whose conditions are asked for with every row.
    fn new(
        variable: usize,
        Condition { expr, looks }: &Condition,
        asked_first: &[usize],
        read: &dyn Fn(&[weir_expr::match_recognize::Look]) -> Result<Looks>,
    ) -> Result<Test> {
        let own = |of: &RowsOf| of.has(variable);
        let columns: Option<Vec<usize>> = looks
            .iter()
            .map(|l| match &l.what {
                What::Row { of, first: false, offset: 0, shift: 0, column } if own(of) => Some(*column),
                _ => None,
            })
            .collect();
        match columns {
            Some(columns) if expr.total() || asked_first.contains(&variable) => {
                let own = |e| match e {
                    Expr::Column { index, name, ty } => Expr::Column { index: columns[index], name, ty },
                    e => e,
                };
                Ok(Test::OfRow(expr.clone().rewrite(&mut { own })))
            }
            _ => {
                let fields = looks.iter().enumerate();
                let fields = fields.map(|(n, l)| weir_core::Field::new(format!("${n}"), l.ty.clone().nullable(true)));
                let (schema, looks) = (Schema::new(fields.collect()), read(looks)?);
                let quick = Quick::condition(expr).filter(|_| looks.are_of_rows());
                Ok(Test::OfMatch { expr: expr.clone(), quick, looks, schema })
            }
        }
    }
}

struct Matching {
    plan: MatchRecognizeFactory,
    automaton: Automaton,
    /// The conditions of the variables.
    tests: Vec<Test>,
    /// Whether a condition reads other rows than the current one.
    looks_back: bool,
    measures: Looks,
    types: Vec<DataType>,
    key_types: Vec<DataType>,
    /// The columns of the input that are kept of rows.
    kept: Vec<usize>,
    /// How many rows in front of a match are read.
    reach: usize,
    /// Whether neither a time nor the pattern bounds the rows of a match.
    endless: bool,
    state: KeyedState<Partitions>,
    /// The rows that wait for the watermark.
    waiting: TimeQueue,
    /// The timers at which matches end without being complete.
    timers: Timers,
    numbers: RowNumbers,
    /// The watermark, or the processing time.
    passed: i64,
    clock: Arc<dyn Clock>,
    failed_rows: FailedRows,
    late: LateRows,
    eval: EvalContext,
    context: SubtaskContext,
}

/// Rows that are processed together, in order.
struct Page {
    batch: Batch,
    /// The partition of each row, by its number among those of the page.
    partitions: Vec<usize>,
    times: Vec<i64>,
    /// The keys of the partitions.
    keys: Keys,
}

/// A match that is emitted.
struct Emitted {
    partition: usize,
    path: Path,
    time: i64,
    number: u64,
}

/// What is emitted together.
#[derive(Default)]
struct Found {
    matches: Vec<Emitted>,
    /// The matches that were not complete in time. Their time is that at which they ended.
    timed_out: Vec<Emitted>,
}

/// Which conditions hold for a row, for each match that it may continue.
#[derive(Clone, Default)]
struct Answers {
    /// By the place of the match in the queue, and then by the variable.
    held: Vec<bool>,
    variables: usize,
}

impl Answers {
    fn new(matches: usize, variables: usize) -> Answers {
        Answers { held: vec![false; matches * variables], variables }
    }

    fn set(&mut self, at: usize, variable: usize, holds: bool) {
        if let Some(held) = self.held.get_mut(at * self.variables + variable) {
            *held = holds;
        }
    }

    fn get(&self, at: usize, variable: usize) -> bool {
        self.held.get(at * self.variables + variable).copied().unwrap_or(false)
    }
}

/// Rows that were dropped because an expression failed on them.
type Dropped = BTreeSet<usize>;

impl Matching {
    /// Decodes rows that were waiting.
    fn due_page(&self, due: &[DueValue]) -> Result<Page> {
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        let mut keys = Keys::default();
        for row in due {
            decode_row(&self.types, &row.value, &mut builders)?;
            keys.push(&row.key);
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        let batch = Batch::from_columns(self.plan.input.arrow(), columns, due.len())?;
        self.page(batch, &keys, due.iter().map(|row| row.time).collect())
    }

    /// Rows of a batch in order: by time, those of one time by further columns, and then as they came.
    fn page(&self, batch: Batch, keys: &Keys, times: Vec<i64>) -> Result<Page> {
        let mut order: Vec<u32> = (0..batch.rows() as u32).collect();
        let (batch, times) = if self.plan.order.is_empty() {
            (batch, times)
        } else {
            let sort = (0..batch.rows()).map(|n| {
                let mut key = vec![];
                put_sort_key(&self.plan.order, &batch, n, &mut key);
                (times[n], key)
            });
            let sort: Vec<_> = sort.collect();
            order.sort_by(|a, b| sort[*a as usize].cmp(&sort[*b as usize]));
            let times = order.iter().map(|n| times[*n as usize]).collect();
            (batch.take(&order.clone().into())?, times)
        };
        let (mut numbers, mut distinct) = (HashMap::<&[u8], usize>::new(), Keys::default());
        let partition = |n: &u32| {
            let key = keys.get(*n as usize);
            *numbers.entry(key).or_insert_with(|| {
                distinct.push(key);
                distinct.len() - 1
            })
        };
        let partitions = order.iter().map(partition).collect();
        Ok(Page { batch, partitions, times, keys: distinct })
    }

    /// Takes the partitions with these keys out of the state.
    fn take(&mut self, keys: &Keys) -> Result<Vec<Partition>> {
        self.state.prefetch((0..keys.len()).map(|n| keys.get(n)))?;
        let mut all = Vec::with_capacity(keys.len());
        for n in 0..keys.len() {
            let mut partition = None;
            self.state.update(keys.get(n), |known| {
                partition = known.take();
                Ok(true)
            })?;
            all.push(partition.unwrap_or_else(|| Partition::new(&self.automaton)));
        }
        Ok(all)
    }

    /// Puts partitions back, and sets the timers of matches that have begun.
    fn put_back(&mut self, keys: &Keys, partitions: Vec<Partition>) -> Result<()> {
        for (n, mut p) in partitions.into_iter().enumerate() {
            let key = keys.get(n);
            if self.endless && p.size() > MOST_OF_ENDLESS {
                return Err(too_large());
            }
            if let Some(within) = self.plan.matching.within
                && p.timer.is_none()
                && let Some(time) = p.matches.ends_at(within)
            {
                self.timers.set(&mut self.state, time, key);
                p.timer = Some(time);
            }
            self.state.update(key, |known| {
                *known = Some(p);
                Ok(true)
            })?;
        }
        Ok(())
    }

    /// Matches the rows of a page.
    fn match_page(&mut self, page: &Page, out: &mut Collector) -> Result<()> {
        let mut partitions = self.take(&page.keys)?;
        let mut dropped = Dropped::new();
        let of_rows = self.of_rows(page, &mut dropped, out)?;
        let (mut results, mut timed_out) = (vec![], vec![]);
        let kept: Vec<ArrayRef> = self.kept.iter().map(|c| page.batch.data.column(*c).clone()).collect();
        for step in steps(page, &dropped) {
            let rows: Vec<Vec<Value<'_>>> =
                step.iter().map(|row| kept.iter().map(|c| Value::read(c, *row)).collect()).collect();
            let mut found = Found::default();
            for row in &step {
                let (number, time) = (page.partitions[*row], page.times[*row]);
                self.expire(&mut partitions[number], number, time, &mut found)?;
            }
            let answers = self.of_matches(page, &step, &rows, &partitions, out)?;
            for ((row, values), answers) in step.iter().zip(rows).zip(answers) {
                let Some(answers) = answers else { continue };
                let (number, time) = (page.partitions[*row], page.times[*row]);
                let p = &mut partitions[number];
                let holds = |at: usize, variable: usize| match (&self.tests[variable], &of_rows[variable]) {
                    (Test::Always, _) => true,
                    (_, Some(held)) => held.value(*row),
                    _ => answers.get(at, variable),
                };
                let (skip, next) = (&self.plan.matching.skip, p.next);
                let begins = next == 0 || !self.plan.matching.at_start;
                let (certain, taken) = p.matches.step(&self.automaton, (next, time), &holds, begins, skip)?;
                if taken || self.reach > 0 || !p.rows.is_empty() {
                    p.push(values.into_iter().map(Value::into_owned).collect::<Row>());
                }
                p.next += 1;
                emit(certain, p, number, time, &mut found.matches);
            }
            results.extend(self.results(&found.matches, &partitions, &page.keys, out)?);
            timed_out.extend(self.timed_out(&found.timed_out, &partitions, &page.keys, out)?);
            step.iter().for_each(|row| partitions[page.partitions[*row]].trim(self.reach));
        }
        together(&results)?.into_iter().for_each(|batch| out.emit(batch));
        together(&timed_out)?.into_iter().for_each(|batch| out.timed_out(batch));
        self.put_back(&page.keys, partitions)
    }

    /// Ends the matches of a partition that are not complete in time, one after the other.
    fn expire(&self, p: &mut Partition, partition: usize, now: i64, found: &mut Found) -> Result<()> {
        let Some(within) = self.plan.matching.within else { return Ok(()) };
        while let Some(end) = p.matches.ends_at(within).filter(|end| *end <= now) {
            let (certain, timed_out) = p.matches.expire(end, within, &self.plan.matching.skip)?;
            if self.plan.timed_out.is_some() {
                let number = p.found + 1;
                let ended = timed_out.into_iter().map(|path| Emitted { partition, path, time: end, number });
                found.timed_out.extend(ended);
            }
            emit(certain, p, partition, end, &mut found.matches);
        }
        Ok(())
    }

    /// Evaluates the conditions that only read the row itself.
    fn of_rows(
        &mut self,
        page: &Page,
        dropped: &mut Dropped,
        out: &mut Collector,
    ) -> Result<Vec<Option<BooleanArray>>> {
        let mut all = vec![];
        for test in &self.tests {
            all.push(match test {
                Test::OfRow(expr) => Some(condition(expr, &page.batch.data, &mut self.eval)?),
                Test::Always | Test::OfMatch { .. } => None,
            });
        }
        let errors = std::mem::take(&mut self.eval.errors).into_iter().map(|e| (e.row as usize, e)).collect();
        dropped.extend(self.failed(errors, &page.batch, &self.plan.input.clone(), out)?);
        Ok(all)
    }

    /// Evaluates the conditions of a step that read other rows. None for a row that is dropped.
    fn of_matches(
        &mut self,
        page: &Page,
        step: &[usize],
        rows: &[Vec<Value<'_>>],
        partitions: &[Partition],
        out: &mut Collector,
    ) -> Result<Vec<Option<Answers>>> {
        let begun = |row: &usize| partitions[page.partitions[*row]].matches.partial.elements().len();
        let new =
            |row| Some(if self.looks_back { Answers::new(begun(row), self.tests.len()) } else { Answers::default() });
        let mut answers: Vec<Option<Answers>> = step.iter().map(new).collect();
        let mut errors = vec![];
        for (variable, test) in self.tests.iter().enumerate() {
            let Test::OfMatch { expr, quick, looks, schema } = test else { continue };
            let (mut sources, mut places) = (vec![], vec![]);
            for (n, row) in step.iter().enumerate() {
                let partition = &partitions[page.partitions[*row]];
                for (at, partial) in partition.matches.partial.elements().iter().enumerate() {
                    if self.automaton.asks(partial.state).binary_search(&variable).is_err() {
                        continue;
                    }
                    let (start, runs) =
                        partial.path.as_ref().map_or((partition.next, &[][..]), |p| (p.start, &p.runs[..]));
                    let (time, number) = (page.times[*row], partition.found + 1);
                    let (whole, end, current) = (runs, partition.next, Some((variable, rows[n].as_slice())));
                    sources.push(Source { partition, start, runs, whole, end, current, time, number });
                    places.push((n, at));
                }
            }
            if let Some(quick) = quick {
                for (source, (n, at)) in sources.iter().zip(places) {
                    let holds = quick.holds(&looks.values(source));
                    answers[n].iter_mut().for_each(|a| a.set(at, variable, holds));
                }
                continue;
            }
            if sources.is_empty() {
                continue;
            }
            let found = looks.read(&sources, &mut self.eval)?;
            let batch = Batch::from_columns(schema.arrow(), found.columns, sources.len())?;
            let held = condition(expr, &batch.data, &mut self.eval)?;
            let of_condition = std::mem::take(&mut self.eval.errors).into_iter().map(|e| (e.row as usize, e));
            errors.extend(found.failed.into_iter().chain(of_condition).map(|(source, e)| (step[places[source].0], e)));
            for ((n, at), held) in places.into_iter().zip(held.iter()) {
                answers[n].iter_mut().for_each(|a| a.set(at, variable, held == Some(true)));
            }
        }
        if errors.is_empty() {
            return Ok(answers);
        }
        let dropped = self.failed(errors, &page.batch, &self.plan.input.clone(), out)?;
        for (row, answers) in step.iter().zip(&mut answers) {
            answers.take_if(|_| dropped.contains(row));
        }
        Ok(answers)
    }

    /// Handles rows on which an expression failed. Returns those to drop.
    fn failed(
        &self,
        errors: Vec<(usize, RowError)>,
        rows: &Batch,
        schema: &Schema,
        out: &mut Collector,
    ) -> Result<Dropped> {
        let errors = errors.into_iter().map(|(row, e)| RowError { row: row as u32, ..e });
        let dropped = self.failed_rows.handle(errors, (rows, schema), out)?;
        Ok(dropped.into_iter().map(|row| row as usize).collect())
    }

    /// The rows of matches; none if there are no matches. Rows on which an aggregate fails are handled.
    fn results(
        &mut self,
        emitted: &[Emitted],
        partitions: &[Partition],
        keys: &Keys,
        out: &mut Collector,
    ) -> Result<Option<Batch>> {
        if emitted.is_empty() {
            return Ok(None);
        }
        // With all rows, what is read of a row is read of the rows up to it.
        let mut runs = vec![];
        for (n, e) in emitted.iter().enumerate() {
            if self.plan.matching.all_rows {
                let mut up_to = vec![];
                for run in &e.path.runs {
                    for _ in 0..run.rows {
                        push(&mut up_to, run.variable, run.excluded);
                        if !run.excluded {
                            runs.push((n, up_to.clone()));
                        }
                    }
                }
            } else {
                runs.push((n, e.path.runs.clone()));
            }
        }
        let sources = runs.iter().map(|(n, runs)| source(&emitted[*n], runs, partitions));
        let sources: Vec<Source<'_>> = sources.collect();
        let found = self.measures.read(&sources, &mut self.eval)?;
        let mut columns = if self.plan.matching.all_rows {
            self.all_rows(emitted, partitions)?
        } else {
            decode_columns(&self.key_types, emitted.iter().map(|e| keys.get(e.partition)))?
        };
        columns.extend(found.columns);
        let schema = self.plan.schema.clone();
        let result = Batch::from_columns(schema.arrow(), columns, sources.len())?;
        self.without_failed(result, found.failed, &schema, out).map(Some)
    }

    /// The matches that were not complete in time; none if there are no such. Those on which an aggregate fails are handled.
    fn timed_out(
        &mut self,
        ended: &[Emitted],
        partitions: &[Partition],
        keys: &Keys,
        out: &mut Collector,
    ) -> Result<Option<Batch>> {
        let Some(schema) = self.plan.timed_out.clone().filter(|_| !ended.is_empty()) else { return Ok(None) };
        let sources: Vec<Source<'_>> = ended.iter().map(|e| source(e, &e.path.runs, partitions)).collect();
        let found = self.measures.read(&sources, &mut self.eval)?;
        let mut columns = decode_columns(&self.key_types, ended.iter().map(|e| keys.get(e.partition)))?;
        columns.extend(found.columns);
        let about = schema.fields[columns.len()..].iter().map(|f| ColumnBuilder::new(&f.ty.arrow()));
        let mut about: Vec<ColumnBuilder> = about.collect();
        for e in ended {
            let began = Value::of_millis(e.path.began);
            let values = [began, Value::of_millis(e.time), Value::text(&self.context.node)];
            about.iter_mut().zip(&values).for_each(|(column, value)| column.push(value));
        }
        columns.extend(about.into_iter().map(ColumnBuilder::finish));
        let result = Batch::from_columns(schema.arrow(), columns, ended.len())?;
        self.without_failed(result, found.failed, &schema, out).map(Some)
    }

    /// Handles the rows on which an aggregate has failed. Returns the others.
    fn without_failed(
        &mut self,
        result: Batch,
        failed: Vec<(usize, RowError)>,
        schema: &Schema,
        out: &mut Collector,
    ) -> Result<Batch> {
        if failed.is_empty() {
            return Ok(result);
        }
        let dropped = self.failed(failed, &result, schema, out)?;
        let keep: BooleanArray = (0..result.rows()).map(|r| Some(!dropped.contains(&r))).collect();
        result.filter(&keep)
    }

    /// The columns of all rows of the matches, but for those that are excluded.
    fn all_rows(&self, emitted: &[Emitted], partitions: &[Partition]) -> Result<Vec<ArrayRef>> {
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        let lost = || Error::internal("a row of a match is not kept");
        for e in emitted {
            let (p, mut next) = (&partitions[e.partition], e.path.start);
            for run in &e.path.runs {
                let of_run = next..next + u64::from(run.rows);
                next = of_run.end;
                for n in of_run.filter(|_| !run.excluded) {
                    let row = n.checked_sub(p.first).and_then(|at| p.rows.get(at as usize)).ok_or_else(lost)?;
                    builders.iter_mut().zip(row.iter()).for_each(|(b, v)| b.push(v));
                }
            }
        }
        Ok(builders.into_iter().map(ColumnBuilder::finish).collect())
    }

    /// Matches the rows that are due, and ends the matches whose time is over.
    fn fire(&mut self, out: &mut Collector) -> Result<()> {
        loop {
            let due = self.waiting.take(&mut self.state, self.passed, PAGE)?;
            if !due.is_empty() {
                let page = self.due_page(&due)?;
                self.match_page(&page, out)?;
            }
            if due.len() < PAGE {
                return self.end_matches(out);
            }
        }
    }

    /// Ends the matches whose time is over.
    fn end_matches(&mut self, out: &mut Collector) -> Result<()> {
        loop {
            let due = self.timers.due(&mut self.state, self.passed, PAGE)?;
            let distinct: BTreeSet<&[u8]> = due.iter().map(|(_, key)| key.as_slice()).collect();
            let mut keys = Keys::default();
            distinct.into_iter().for_each(|key| keys.push(key));
            let mut partitions = self.take(&keys)?;
            let mut found = Found::default();
            for (number, p) in partitions.iter_mut().enumerate() {
                p.timer = None;
                self.expire(p, number, self.passed, &mut found)?;
            }
            let results = self.results(&found.matches, &partitions, &keys, out)?;
            let timed_out = self.timed_out(&found.timed_out, &partitions, &keys, out)?;
            results.into_iter().for_each(|batch| out.emit(batch));
            timed_out.into_iter().for_each(|batch| out.timed_out(batch));
            partitions.iter_mut().for_each(|p| p.trim(self.reach));
            self.put_back(&keys, partitions)?;
            if due.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// The error for a partition whose matches go on without end.
fn too_large() -> Error {
    let most = MOST_OF_ENDLESS >> 20;
    let e = "the matches of MATCH_RECOGNIZE that have begun and are not complete have";
    Error::data(format!("{e} more than {most} MiB of rows in one partition, and nothing bounds them"))
        .hint("give the PATTERN a WITHIN, or its quantifiers a bound: A{1,100} rather than A+")
}

/// What is read of a match: of all its rows, or of those of these runs.
fn source<'a>(of: &'a Emitted, runs: &'a [Run], partitions: &'a [Partition]) -> Source<'a> {
    let Emitted { partition, path, time, number } = of;
    let (partition, start, whole) = (&partitions[*partition], path.start, path.runs.as_slice());
    let end = start + path.rows();
    Source { partition, start, runs, whole, end, current: None, time: *time, number: *number }
}

/// The rows of several steps as one batch; none if there are none.
fn together(results: &[Batch]) -> Result<Option<Batch>> {
    if results.is_empty() { Ok(None) } else { Batch::concat(results).map(Some) }
}

/// Numbers matches, and adds them to those that are emitted.
fn emit(certain: Vec<Path>, p: &mut Partition, partition: usize, time: i64, emitted: &mut Vec<Emitted>) {
    for path in certain {
        p.found += 1;
        emitted.push(Emitted { partition, path, time, number: p.found });
    }
}

/// The rows of a page in steps, each with at most one row of a partition.
fn steps(page: &Page, dropped: &Dropped) -> Vec<Vec<usize>> {
    let (mut steps, mut next): (Vec<Vec<usize>>, Vec<usize>) = (vec![], vec![0; page.keys.len()]);
    for (row, partition) in page.partitions.iter().enumerate() {
        if dropped.contains(&row) {
            continue;
        }
        let step = &mut next[*partition];
        match steps.get_mut(*step) {
            Some(rows) => rows.push(row),
            None => steps.push(vec![row]),
        }
        *step += 1;
    }
    steps
}

impl Operator for Matching {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        let keys = Keys::of(&batch, &self.plan.partition);
        self.state.prefetch(std::iter::empty())?;
        if self.plan.domain == TimeDomain::Processing {
            if batch.rows() == 0 {
                return Ok(());
            }
            self.passed = self.clock.now().max(self.passed);
            let times = vec![self.passed; batch.rows()];
            let page = self.page(batch, &keys, times)?;
            return self.match_page(&page, out);
        }
        let times = batch.data.column(self.plan.time).clone();
        for n in 0..batch.rows() {
            let Some(time) = row_time(&times, n)? else {
                self.context.metrics.skipped.inc();
                continue;
            };
            if time <= self.passed {
                self.late.drop_row(&batch, n, self.passed, || PASSED.to_string(), out)?;
                continue;
            }
            let mut row = vec![];
            encode_row(batch.data.columns(), n, &mut row);
            self.waiting.put(&mut self.state, time, keys.get(n), self.numbers.next(), row);
        }
        Ok(())
    }

    fn on_watermark(&mut self, time: &EventTime, out: &mut Collector) -> Result<()> {
        self.eval.watermark = Some(time.all.0).filter(|t| *t > i64::MIN);
        if self.plan.domain == TimeDomain::Processing {
            return Ok(());
        }
        self.passed = self.passed.max(time.all.0);
        self.state.prefetch(std::iter::empty())?;
        self.fire(out)
    }

    fn next_tick(&self) -> Option<i64> {
        self.timers.next().filter(|_| self.plan.domain == TimeDomain::Processing)
    }

    fn on_tick(&mut self, now: i64, out: &mut Collector) -> Result<()> {
        self.passed = now.max(self.passed);
        self.state.prefetch(std::iter::empty())?;
        self.end_matches(out)
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        self.state.checkpoint()
    }

    fn wants_epoch(&self) -> bool {
        self.state.wants_epoch()
    }
}
