//! Made rows. Each is a function of the seed, its number and the column, so that a job that goes on makes the same ones.

mod lanes;

use crate::options::TableSpec;
use lanes::{BLOCK, Layers};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_core::graph::{Collector, Polled, Source, SourceFactory, SubtaskContext};
use weir_core::state::{Changes, Epoch, StateHandle};
use weir_core::thread::locked;
use weir_core::{Batch, ColumnBuilder, Error, Result, Schema, SqlType, TypeKind, Value};

#[derive(Clone)]
enum Kind {
    Sequence { start: i64, end: i64 },
    Range { min: f64, max: f64 },
    Whole { min: i64, max: i64 },
    Length { length: usize, varies: bool },
    Past { millis: i64 },
    Any,
}

#[derive(Clone)]
struct Column {
    index: u64,
    ty: SqlType,
    kind: Kind,
    null_rate: f64,
}

struct Datagen {
    columns: Vec<Column>,
    schema: Schema,
    rows: Option<u64>,
    per_second: f64,
    seed: u64,
    /// What was made before.
    done: Arc<Mutex<Layers>>,
}

pub(crate) fn source(table: &TableSpec) -> Result<Arc<dyn SourceFactory>> {
    let mut rows: Option<u64> = table.number("number-of-rows")?;
    let mut all = vec![];
    for (index, f) in table.schema.fields.iter().enumerate() {
        let key = |k: &str| format!("fields.{}.{k}", f.name);
        let text = matches!(
            f.ty.kind,
            TypeKind::Char(_) | TypeKind::Varchar(_) | TypeKind::Binary(_) | TypeKind::Varbinary(_)
        );
        let (low, high) = match f.ty.kind {
            TypeKind::TinyInt => (i64::from(i8::MIN), i64::from(i8::MAX)),
            TypeKind::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
            TypeKind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let kind = match table.get(&key("kind")).unwrap_or("random") {
            "sequence" => {
                let need = |k: &str| -> Result<i64> {
                    table.number(&key(k))?.ok_or_else(|| {
                        Error::script(format!("table '{}' lacks the option '{}'", table.name, key(k))).at(table.place)
                    })
                };
                let (start, end) = (need("start")?, need("end")?);
                // A sequence that is used up ends the source.
                let length = (end - start + 1).max(0) as u64;
                rows = Some(rows.map_or(length, |r| r.min(length)));
                Kind::Sequence { start, end }
            }
            "random" if text => Kind::Length {
                length: table.number(&key("length"))?.unwrap_or(match f.ty.kind {
                    TypeKind::Char(n) | TypeKind::Binary(n) => n as usize,
                    _ => 100,
                }),
                varies: table.boolean(&key("var-len"), false)?,
            },
            "random" if f.ty.is_integer() => Kind::Whole {
                min: table.number(&key("min"))?.unwrap_or(low),
                max: table.number(&key("max"))?.unwrap_or(high),
            },
            "random" if f.ty.is_numeric() => Kind::Range {
                min: table.number(&key("min"))?.unwrap_or(0.0),
                max: table.number(&key("max"))?.unwrap_or(if f.ty.is_decimal() { 100.0 } else { 1.0 }),
            },
            "random" if f.ty.is_timestamp() => {
                Kind::Past { millis: table.duration(&key("max-past"))?.map_or(0, |d| d.as_millis() as i64) }
            }
            "random" => Kind::Any,
            other => {
                let e = Error::script(format!("option '{}' is random or sequence, not '{other}'", key("kind")));
                return Err(e.at(table.place_of(&key("kind"))));
            }
        };
        if f.ty.is_nested() || f.ty.is_interval() {
            return Err(
                Error::script(format!("datagen makes no {} for column '{}'", f.ty.kind, f.name)).at(table.place)
            );
        }
        let null_rate = table.number::<f64>(&key("null-rate"))?.unwrap_or(0.0);
        all.push(Column { index: index as u64, ty: f.ty.clone(), kind, null_rate });
    }
    Ok(Arc::new(Datagen {
        columns: table.columns.iter().map(|c| all[*c].clone()).collect(),
        schema: table.projected(),
        rows,
        per_second: table.number::<f64>("rows-per-second")?.unwrap_or(10_000.0),
        seed: table.number("seed")?.unwrap_or(1),
        done: Arc::default(),
    }))
}

/// A well-mixed number for a row and a column (SplitMix64's finaliser).
fn mix(seed: u64, row: u64, column: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(row.wrapping_mul(0xBF58_476D_1CE4_E5B9))
        .wrapping_add(column.wrapping_mul(0x94D0_49BB_1331_11EB));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(n: u64) -> f64 {
    (n >> 11) as f64 / (1u64 << 53) as f64
}

impl Column {
    fn value(&self, seed: u64, row: u64) -> Value<'static> {
        let n = mix(seed, row, self.index);
        if self.null_rate > 0.0 && unit(mix(seed, row, self.index + 1_000)) < self.null_rate {
            return Value::Null;
        }
        match (&self.kind, &self.ty.kind) {
            (Kind::Sequence { start, end }, kind) => {
                let v = start + row as i64 % (end - start + 1);
                match kind {
                    TypeKind::Char(_) | TypeKind::Varchar(_) => Value::string(v.to_string()),
                    TypeKind::Float | TypeKind::Double => Value::Double(v as f64),
                    TypeKind::Decimal(_, s) => Value::Decimal(i128::from(v) * 10i128.pow(u32::from(*s)), *s),
                    _ => Value::Int(v),
                }
            }
            (Kind::Whole { min, max }, _) => {
                let width = (i128::from(*max) - i128::from(*min) + 1).max(1) as u128;
                Value::Int((i128::from(*min) + (u128::from(n) % width) as i128) as i64)
            }
            (Kind::Range { min, max }, kind) => {
                let v = min + unit(n) * (max - min);
                match kind {
                    TypeKind::Decimal(_, s) => Value::Decimal((v * 10f64.powi(i32::from(*s))) as i128, *s),
                    TypeKind::Float => Value::Float(v as f32),
                    _ => Value::Double(v),
                }
            }
            (Kind::Length { length, varies }, kind) => {
                let length = if *varies { 1 + n as usize % (*length).max(1) } else { *length };
                let digits = b"0123456789abcdef";
                let text: Vec<u8> =
                    (0..length).map(|i| digits[(mix(n, i as u64 / 16, 7) >> (4 * (i % 16)) & 15) as usize]).collect();
                match kind {
                    TypeKind::Binary(_) | TypeKind::Varbinary(_) => Value::Bytes(text.into()),
                    _ => Value::string(String::from_utf8(text).unwrap_or_default()),
                }
            }
            (Kind::Past { millis }, _) => {
                let (s, nanos) = weir_expr::time::now();
                let now =
                    s * 1000 + i64::from(nanos / 1_000_000) - if *millis > 0 { (n % *millis as u64) as i64 } else { 0 };
                Value::Timestamp(now.div_euclid(1000), now.rem_euclid(1000) as u32 * 1_000_000)
            }
            (_, TypeKind::Boolean) => Value::Bool(n & 1 == 1),
            (_, TypeKind::Date) => Value::Date(weir_expr::time::now().0.div_euclid(86_400) as i32),
            (_, TypeKind::Time(_)) => Value::Time((n % 86_400_000) as i32),
            _ => Value::Null,
        }
    }
}

impl SourceFactory for Datagen {
    fn rate(&self) -> Option<f64> {
        Some(self.per_second)
    }
    fn start(&self, state: &StateHandle, _parallelism: usize) -> Result<()> {
        let known = Layers::read(&state.scan(lanes::PREFIX)?);
        *locked(&self.done) =
            known.ok_or_else(|| Error::state("the position of made-up rows in the state is damaged"))?;
        Ok(())
    }

    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Source>> {
        let done = locked(&self.done).clone();
        let (layer, next, within) = done.lane(context.parallelism, context.subtask);
        let obsolete = if context.subtask == 0 { done.obsolete() } else { vec![] };
        Ok(Box::new(Lane {
            columns: self.columns.clone(),
            schema: self.schema.clone(),
            rows: self.rows,
            per_second: self.per_second / context.parallelism as f64,
            seed: self.seed,
            done,
            obsolete,
            layer,
            next,
            step: context.parallelism as u64,
            lane: context.subtask,
            within,
            started: Instant::now(),
            given: 0,
            moved: false,
            at_once: context.batch_rows as u64,
        }))
    }
}

struct Lane {
    columns: Vec<Column>,
    schema: Schema,
    rows: Option<u64>,
    per_second: f64,
    seed: u64,
    done: Layers,
    /// Keys of the state that say nothing any more.
    obsolete: Vec<Vec<u8>>,
    layer: u32,
    next: u64,
    step: u64,
    lane: usize,
    within: u64,
    started: Instant,
    given: u64,
    moved: bool,
    at_once: u64,
}

impl Lane {
    /// How long it takes until the rate allows another row. Not too long, for whoever stops the job.
    fn pause(&self) -> Duration {
        let due = self.given as f64 / self.per_second - self.started.elapsed().as_secs_f64();
        Duration::try_from_secs_f64(due.clamp(0.005, 0.2)).unwrap_or(Duration::from_millis(200))
    }
}

impl Source for Lane {
    fn poll(&mut self, out: &mut Collector) -> Result<Polled> {
        // Blocks that an earlier number of lanes has made, or begun.
        if self.within == 0 {
            while self.done.made(self.next) >= BLOCK {
                self.next += self.step;
            }
            self.within = self.done.made(self.next);
        }
        let first = self.next * BLOCK + self.within;
        let end = ((self.next + 1) * BLOCK).min(self.rows.unwrap_or(u64::MAX));
        if first >= end {
            return Ok(Polled::End);
        }
        let allowed = (self.started.elapsed().as_secs_f64() * self.per_second) as u64 + 1;
        let count = (end - first).min(allowed.saturating_sub(self.given)).min(self.at_once);
        if count == 0 {
            return Ok(Polled::Wait(self.pause()));
        }
        let mut builders: Vec<ColumnBuilder> = self.columns.iter().map(|c| ColumnBuilder::new(&c.ty.arrow())).collect();
        for row in first..first + count {
            self.columns.iter().zip(&mut builders).for_each(|(c, b)| b.push(&c.value(self.seed, row)));
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect();
        out.emit(Batch::from_columns(self.schema.arrow(), columns, count as usize)?);
        self.given += count;
        self.within += count;
        self.moved = true;
        if self.within == BLOCK {
            (self.within, self.next) = (0, self.next + self.step);
        }
        // What the rate allows is given: the next rows go together.
        Ok(if self.given >= allowed { Polled::Wait(self.pause()) } else { Polled::More })
    }

    fn checkpoint(&mut self, _epoch: Epoch) -> Result<Changes> {
        let mut changes = Changes::default();
        std::mem::take(&mut self.obsolete).iter().for_each(|k| changes.remove(&[k]));
        if std::mem::take(&mut self.moved) {
            changes.set(&lanes::key(self.layer, self.lane), &lanes::position(self.step, self.next, self.within));
        }
        Ok(changes)
    }
}
