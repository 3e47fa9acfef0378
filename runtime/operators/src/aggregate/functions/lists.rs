//! LISTAGG, ARRAY_AGG and JSON's aggregates; FIRST_VALUE and LAST_VALUE over changes, or of values that count once.

use super::json;
use super::ordered::Ordered;
use super::{Accumulators, Heap, Rows, Typed, stored};
use weir_core::keyed::Slab;
use weir_core::{Error, Result, Value};
use weir_expr::aggregate::Aggregate;
use weir_expr::functions::size;

/// Values in the order they came, in their stored form.
#[derive(Debug, Clone, Default)]
struct List {
    count: u32,
    bytes: Vec<u8>,
}

/// What groups keep where rows only come.
pub(super) struct Growing {
    of: Typed,
    lists: Slab<List>,
}

impl Growing {
    pub fn new(of: Typed) -> Growing {
        Growing { of, lists: Slab::default() }
    }
}

impl Accumulators for Growing {
    fn grow(&mut self, places: usize) {
        self.lists.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let mut value = vec![];
        rows.try_each(None, |row, at, sign| {
            if sign < 0 {
                return Err(Error::internal("a row goes from a list of rows that only come"));
            }
            rows.encode(row, &mut value);
            let list = &mut self.lists[at];
            stored::put_bytes(&mut list.bytes, &value);
            list.count += 1;
            Ok(())
        })
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        for (at, from) in places.iter().zip(states) {
            let count = stored::length(from)?;
            let all: &[u8] = from;
            (0..count).try_for_each(|_| stored::bytes(from).map(drop))?;
            let list = &mut self.lists[*at as usize];
            list.bytes.extend_from_slice(&all[..all.len() - from.len()]);
            list.count += count;
        }
        Ok(())
    }
    fn encode(&self, at: usize, out: &mut Vec<u8>) {
        let list = &self.lists[at];
        out.extend_from_slice(&list.count.to_be_bytes());
        out.extend_from_slice(&list.bytes);
    }
    fn result(&self, at: usize) -> Result<Value<'static>> {
        let (list, mut values) = (&self.lists[at], vec![]);
        let mut rest = list.bytes.as_slice();
        for _ in 0..list.count {
            values.push(stored::bytes(&mut rest)?);
        }
        listed(values.into_iter(), &self.of)
    }
    fn reset(&mut self, at: usize) {
        self.lists[at] = List::default();
    }
    fn clear(&mut self) {
        self.lists.clear();
    }
    fn width(&self) -> usize {
        size_of::<List>()
    }
    fn heap(&self) -> Option<&dyn Heap> {
        Some(self)
    }
}

impl Heap for Growing {
    fn bytes(&self, at: usize) -> usize {
        self.lists[at].bytes.len()
    }
}

/// What groups keep where some rows go again, or each value counts once.
pub(super) struct Changing {
    of: Typed,
    lists: Slab<Option<Box<Ordered>>>,
}

impl Changing {
    pub fn new(of: Typed) -> Changing {
        Changing { of, lists: Slab::default() }
    }
}

impl Accumulators for Changing {
    fn grow(&mut self, places: usize) {
        self.lists.grow(places);
    }
    fn update(&mut self, rows: &Rows<'_>) -> Result<()> {
        let mut value = vec![];
        let distinct = self.of.call.distinct;
        rows.each(None, |row, at, sign| {
            rows.encode(row, &mut value);
            self.lists[at].get_or_insert_with(|| Box::new(Ordered::new(distinct))).add(&value, sign);
        });
        Ok(())
    }
    fn merge(&mut self, places: &[u32], states: &mut [&[u8]]) -> Result<()> {
        let distinct = self.of.call.distinct;
        for (at, from) in places.iter().zip(states) {
            for _ in 0..stored::length(from)? {
                let (value, count) = (stored::bytes(from)?, stored::long(from)?);
                let list = self.lists[*at as usize].get_or_insert_with(|| Box::new(Ordered::new(distinct)));
                list.load(value, count);
            }
        }
        Ok(())
    }
    fn encode(&self, at: usize, out: &mut Vec<u8>) {
        let entries = || self.lists[at].iter().flat_map(|list| list.entries());
        out.extend_from_slice(&(entries().count() as u32).to_be_bytes());
        for (value, count) in entries() {
            stored::put_bytes(out, value);
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
    fn result(&self, at: usize) -> Result<Value<'static>> {
        listed(self.lists[at].iter().flat_map(|list| list.values()), &self.of)
    }
    fn reset(&mut self, at: usize) {
        self.lists[at] = None;
    }
    fn clear(&mut self) {
        self.lists.clear();
    }
    fn width(&self) -> usize {
        size_of::<Option<Box<Ordered>>>()
    }
    fn heap(&self) -> Option<&dyn Heap> {
        Some(self)
    }
}

impl Heap for Changing {
    fn bytes(&self, at: usize) -> usize {
        self.lists[at].as_ref().map_or(0, |list| size_of::<Ordered>() + list.bytes())
    }
}

/// What values in their order come to.
fn listed<'a>(list: impl DoubleEndedIterator<Item = &'a [u8]>, of: &Typed) -> Result<Value<'static>> {
    let value = |bytes: &[u8]| of.decode(bytes);
    let first = |mut values: Box<dyn Iterator<Item = Result<Value<'static>>> + '_>| {
        values.find(|v| !matches!(v, Ok(Value::Null))).unwrap_or(Ok(Value::Null))
    };
    match &of.call.function {
        Aggregate::ArrayAgg => {
            let items: Vec<Value<'static>> = list.map(value).collect::<Result<_>>()?;
            Ok(if items.is_empty() { Value::Null } else { Value::List(items) })
        }
        Aggregate::FirstValue => first(Box::new(list.map(value))),
        Aggregate::LastValue => first(Box::new(list.rev().map(value))),
        Aggregate::ListAgg { separator } => {
            let values: Vec<Value<'static>> = list.map(value).collect::<Result<_>>()?;
            let parts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let bytes = parts.iter().map(|p| p.len() + separator.len()).sum();
            size::fits(bytes).map_err(|why| of.refused(why))?;
            Ok(if parts.is_empty() { Value::Null } else { Value::string(parts.join(separator)) })
        }
        Aggregate::JsonArrayAgg { absent_on_null } => json::array(list, *absent_on_null, of),
        Aggregate::JsonObjectAgg { absent_on_null } => json::object(list, *absent_on_null, of),
        Aggregate::CountStar
        | Aggregate::Count
        | Aggregate::Sum
        | Aggregate::Avg
        | Aggregate::Min
        | Aggregate::Max
        | Aggregate::StddevPop
        | Aggregate::StddevSamp
        | Aggregate::VarPop
        | Aggregate::VarSamp
        | Aggregate::Collect
        | Aggregate::Percentile { .. } => Err(of.unfit()),
    }
}
