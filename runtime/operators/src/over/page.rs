//! Processes rows of several keys, whose results are due, as one batch.
//!
//! Aggregates process columns, while the rows of a key must be processed in order. So the rows are processed in *steps*. A step changes the
//! frame of each key at most once, and covers all keys.

use super::OverFactory;
use super::frames::{FrameRow, Frames};
use crate::aggregate::{Groups, Reads, read_results};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::DataType;
use weir_core::key::{Keys, decode_row, encode_row};
use weir_core::keyed::{DueValue, KeyedState, SmallBytes, Touched};
use weir_core::{Batch, ColumnBuilder, Error, Result};
use weir_expr::aggregate::AggregateCall;

/// Rows whose results are due, in the order of time.
pub(super) struct Page {
    pub columns: Vec<ArrayRef>,
    pub keys: Keys,
    pub times: Vec<i64>,
    pub numbers: Vec<u64>,
}

impl Page {
    /// Decodes rows that were waiting.
    ///
    /// # Errors
    /// If one is corrupt.
    pub fn of(due: &[DueValue], types: &[DataType]) -> Result<Page> {
        let mut builders: Vec<ColumnBuilder> = types.iter().map(ColumnBuilder::new).collect();
        let (mut keys, mut times, mut numbers) = (Keys::default(), vec![], vec![]);
        for row in due {
            decode_row(types, &row.value, &mut builders)?;
            keys.push(&row.key);
            times.push(row.time);
            numbers.push(row.number);
        }
        Ok(Page { columns: builders.into_iter().map(ColumnBuilder::finish).collect(), keys, times, numbers })
    }
}

/// The arguments of the aggregates. A frame keeps only these of a row.
pub(super) struct Arguments {
    /// The input's columns that the aggregates read.
    columns: Vec<usize>,
    types: Vec<DataType>,
    /// The aggregates, with arguments that refer to these columns.
    calls: Vec<AggregateCall>,
}

impl Arguments {
    /// # Errors
    /// An internal error if a call reads a column that it does not list.
    pub fn new(plan: &OverFactory) -> Result<Arguments> {
        let mut columns: Vec<usize> = plan.calls.iter().flat_map(AggregateCall::columns).collect();
        columns.sort_unstable();
        columns.dedup();
        let unknown = |_| Error::internal("an aggregate reads a column that is not among its arguments");
        let moved = |call: &AggregateCall| call.clone().moved(|c| columns.binary_search(&c).map_err(unknown));
        let calls = plan.calls.iter().map(moved).collect::<Result<_>>()?;
        let types = columns.iter().map(|c| plan.input.fields[*c].ty.arrow()).collect();
        Ok(Arguments { columns, types, calls })
    }
}

/// A set of rows that changes the frame of each key at most once.
#[derive(Default)]
struct Step {
    /// Rows that leave frames, as numbers within [`Leaving`].
    leave: Vec<u32>,
    /// Rows of the page that enter frames.
    come: Vec<u32>,
}

/// The progress of a key through the steps.
#[derive(Default, Clone)]
struct KeyStep {
    step: usize,
    /// The time of the key's rows that enter in that step, if there are any.
    came: Option<i64>,
}

/// The order in which rows enter and leave frames.
struct Steps {
    all: Vec<Step>,
    keys: Vec<KeyStep>,
    /// Whether rows of the same time enter together.
    peers: bool,
}

impl Steps {
    fn of(&mut self, key: usize, next: bool) -> &mut Step {
        let at = &mut self.keys[key];
        if next {
            *at = KeyStep { step: at.step + 1, came: None };
        }
        if self.all.len() <= at.step {
            self.all.push(Step::default());
        }
        &mut self.all[at.step]
    }
    fn leave(&mut self, key: usize, row: u32) {
        let came = self.keys[key].came.is_some();
        self.of(key, came).leave.push(row);
    }
    fn come(&mut self, key: usize, row: u32, time: i64) {
        let next = self.keys[key].came.is_some() && !self.is_peer(key, time);
        self.of(key, next).come.push(row);
        self.keys[key].came = Some(time);
    }
    /// Whether a row has the same time as the last row of its key, so that both have the same result.
    fn is_peer(&self, key: usize, time: i64) -> bool {
        self.peers && self.keys[key].came == Some(time)
    }
}

/// Rows that leave frames.
struct Leaving {
    builders: Vec<ColumnBuilder>,
    /// The place of each row's key.
    places: Vec<u32>,
}

/// The results of a page.
pub(super) struct Results {
    pub batch: Batch,
    /// Timers to be set, which the frames are already marked to have: the time, and a row of the page with the key.
    pub timers: Vec<(i64, u32)>,
}

/// Computes the results of a page, and changes the frames of its keys.
///
/// # Errors
/// If the store fails or is corrupt, or if an aggregate fails.
pub(super) fn results(
    plan: &OverFactory,
    arguments: &Arguments,
    page: &Page,
    state: &mut KeyedState<Frames>,
) -> Result<Results> {
    let found = state.places(&page.keys)?;
    let places: Vec<u32> = found.numbers.iter().map(|n| found.places[*n as usize]).collect();
    let store = state.store().clone();
    let read: Vec<ArrayRef> = arguments.columns.iter().map(|c| page.columns[*c].clone()).collect();
    let (mut timers, mut bytes) = (vec![], vec![]);
    let results = state.change(&found.places, |frames, touched| {
        frames.grow(found.room());
        let mut leaving =
            Leaving { builders: arguments.types.iter().map(ColumnBuilder::new).collect(), places: vec![] };
        let keys = vec![KeyStep::default(); found.places.len()];
        let mut steps = Steps { all: vec![], keys, peers: plan.frame.takes_peers() };
        for (row, (number, place)) in found.numbers.iter().zip(&places).enumerate() {
            let (number, time, frame) = (*number as usize, page.times[row], &mut frames.keys[*place as usize]);
            if plan.frame.is_bounded() {
                if !steps.is_peer(number, time) {
                    frame.lose(plan.frame, time, page.keys.get(row), &store, |lost| {
                        steps.leave(number, leaving.places.len() as u32);
                        leaving.places.push(*place);
                        decode_row(&arguments.types, lost, &mut leaving.builders)
                    })?;
                }
                bytes.clear();
                encode_row(&read, row, &mut bytes);
                frame.push(FrameRow { time, number: page.numbers[row], row: SmallBytes::from(bytes.as_slice()) });
            }
            frame.last = time;
            steps.come(number, row as u32, time);
        }
        for ((place, first), touched) in found.places.iter().zip(&found.first).zip(touched) {
            *touched = Touched { there: true, changed: true };
            let frame = &mut frames.keys[*place as usize];
            if let Some(range) = plan.forgets_after()
                && !std::mem::replace(&mut frame.has_timer, true)
            {
                timers.push((frame.emptied_at(range), *first));
            }
        }
        evaluate(plan, arguments, &read, &places, &steps.all, leaving, &mut frames.groups)
    })?;
    let columns = page.columns.iter().cloned().chain(results).collect();
    let batch = Batch::from_columns(plan.schema.arrow(), columns, places.len())?;
    Ok(Results { batch, timers })
}

/// Processes the steps, and returns the results of the page's rows.
fn evaluate(
    plan: &OverFactory,
    arguments: &Arguments,
    read: &[ArrayRef],
    places: &[u32],
    steps: &[Step],
    leaving: Leaving,
    groups: &mut Groups,
) -> Result<Vec<ArrayRef>> {
    let lost: Vec<ArrayRef> = leaving.builders.into_iter().map(ColumnBuilder::finish).collect();
    let (of_lost, of_page) = (Reads::of(&arguments.calls, &lost)?, Reads::of(&arguments.calls, read)?);
    let go = vec![-1; leaving.places.len()];
    let types = plan.schema.fields[plan.input.len()..].iter().map(|f| f.ty.arrow());
    let mut results: Vec<ColumnBuilder> = types.map(|ty| ColumnBuilder::new(&ty)).collect();
    let (mut order, mut values) = (Vec::with_capacity(places.len()), vec![]);
    for step in steps {
        if !step.leave.is_empty() {
            of_lost.take(groups, &leaving.places, Some(&step.leave), Some(&go))?;
            for at in step.leave.iter().map(|row| leaving.places[*row as usize] as usize) {
                // Removes the rounding errors of an empty frame.
                if groups.rows[at] == 0 {
                    groups.reset(at);
                }
            }
        }
        of_page.take(groups, places, Some(&step.come), None)?;
        for row in &step.come {
            values.clear();
            read_results(&plan.calls, groups, places[*row as usize] as usize, &mut values)?;
            results.iter_mut().zip(&values).for_each(|(builder, value)| builder.push(value));
        }
        order.extend_from_slice(&step.come);
    }
    let results = results.into_iter().map(ColumnBuilder::finish);
    if steps.len() <= 1 {
        return Ok(results.collect());
    }
    let mut at = vec![0; order.len()];
    order.iter().enumerate().for_each(|(n, row)| at[*row as usize] = n as u32);
    let at = UInt32Array::from(at);
    results.map(|column| Ok(arrow::compute::take(&column, &at, None)?)).collect()
}
