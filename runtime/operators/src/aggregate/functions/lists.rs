//! LISTAGG, ARRAY_AGG and the JSON aggregates, and also FIRST_VALUE and LAST_VALUE over changelogs or with DISTINCT.

use super::json;
use super::ordered::Ordered;
use super::{Function, Rows, Typed, stored};
use weir_core::keyed::Slab;
use weir_core::{Error, Result, Value};
use weir_expr::aggregate::Aggregate;
use weir_expr::functions::size;

/// Values in the order of arrival, in their stored form.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    count: u32,
    bytes: Vec<u8>,
}

/// The accumulator for append-only inputs.
pub(super) struct Growing {
    of: Typed,
}

impl Growing {
    pub fn new(of: Typed) -> Growing {
        Growing { of }
    }
}

impl Function for Growing {
    type Accumulator = List;
    const HAS_HEAP: bool = true;

    fn update(&self, lists: &mut Slab<List>, rows: &Rows<'_>) -> Result<()> {
        let mut value = vec![];
        rows.try_each(None, |row, at, sign| {
            if sign < 0 {
                return Err(Error::internal("a row goes from a list of rows that only come"));
            }
            rows.encode(row, &mut value);
            let list = &mut lists[at];
            stored::put_bytes(&mut list.bytes, &value);
            list.count += 1;
            Ok(())
        })
    }
    fn merge(&self, into: &mut List, from: &List) {
        into.bytes.extend_from_slice(&from.bytes);
        into.count += from.count;
    }
    fn encode(&self, list: &List, out: &mut Vec<u8>) {
        stored::put_length(out, list.count as usize);
        out.extend_from_slice(&list.bytes);
    }
    fn merge_stored(&self, into: &mut List, from: &mut &[u8]) -> Result<()> {
        let count = stored::length(from)?;
        let all: &[u8] = from;
        (0..count).try_for_each(|_| stored::bytes(from).map(drop))?;
        into.bytes.extend_from_slice(&all[..all.len() - from.len()]);
        into.count += count;
        Ok(())
    }
    fn result(&self, list: &List) -> Result<Value<'static>> {
        let (mut values, mut rest) = (vec![], list.bytes.as_slice());
        for _ in 0..list.count {
            values.push(stored::bytes(&mut rest)?);
        }
        listed(values.into_iter(), &self.of)
    }
    fn heap(&self, list: &List) -> usize {
        list.bytes.len()
    }
}

/// The accumulator for changelogs and for DISTINCT.
pub(super) struct Changing {
    of: Typed,
}

/// None until the first row arrives.
type MaybeOrdered = Option<Box<Ordered>>;

impl Changing {
    pub fn new(of: Typed) -> Changing {
        Changing { of }
    }

    fn list<'a>(&self, group: &'a mut MaybeOrdered) -> &'a mut Ordered {
        group.get_or_insert_with(|| Box::new(Ordered::new(self.of.call.distinct)))
    }
}

impl Function for Changing {
    type Accumulator = MaybeOrdered;
    const HAS_HEAP: bool = true;

    fn update(&self, groups: &mut Slab<MaybeOrdered>, rows: &Rows<'_>) -> Result<()> {
        let mut value = vec![];
        rows.each(None, |row, at, sign| {
            rows.encode(row, &mut value);
            self.list(&mut groups[at]).add(&value, sign);
        });
        Ok(())
    }
    fn merge(&self, into: &mut MaybeOrdered, from: &MaybeOrdered) {
        for (value, count) in from.iter().flat_map(|list| list.entries()) {
            self.list(into).load(value, count);
        }
    }
    fn encode(&self, group: &MaybeOrdered, out: &mut Vec<u8>) {
        stored::put_counts(out, group.iter().flat_map(|list| list.entries()));
    }
    fn merge_stored(&self, into: &mut MaybeOrdered, from: &mut &[u8]) -> Result<()> {
        stored::counts(from, |value, count| self.list(into).load(value, count))
    }
    fn result(&self, group: &MaybeOrdered) -> Result<Value<'static>> {
        listed(group.iter().flat_map(|list| list.values()), &self.of)
    }
    fn heap(&self, group: &MaybeOrdered) -> usize {
        group.as_ref().map_or(0, |list| size_of::<Ordered>() + list.bytes())
    }
}

/// The result for values in their order.
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
        // Functions for which `accumulators` never chooses this implementation.
        _ => Err(of.unfit()),
    }
}
