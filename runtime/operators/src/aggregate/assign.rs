//! Which group each row of a batch belongs to, and what its changes do to it.

use ahash::RandomState;
use hashbrown::HashMap;
use weir_core::Batch;
use weir_core::key::Keys;

/// The groups of a batch.
pub(crate) struct Assignment<'a> {
    /// The group of each row.
    pub groups: Vec<u32>,
    /// The groups' keys.
    pub keys: Vec<&'a [u8]>,
}

/// Brings rows with equal keys together.
pub(crate) fn assign(keys: &Keys) -> Assignment<'_> {
    let mut places: HashMap<&[u8], u32, RandomState> = HashMap::default();
    let mut found = Assignment { groups: Vec::with_capacity(keys.len()), keys: vec![] };
    let mut last: Option<(&[u8], u32)> = None;
    for row in 0..keys.len() {
        let k = keys.get(row);
        let at = match last {
            Some((l, at)) if l == k => at,
            _ => *places.entry(k).or_insert_with(|| {
                found.keys.push(k);
                found.keys.len() as u32 - 1
            }),
        };
        last = Some((k, at));
        found.groups.push(at);
    }
    found
}

/// What the changes of a batch do, one after the other.
pub(super) struct Signs {
    /// 1 for a row that comes, −1 for one that goes, 0 for one that does not count.
    pub of_rows: Vec<i64>,
    /// By group: whether its last row went in the batch, so that it begins anew with what comes behind that.
    pub anew: Vec<bool>,
}

impl Signs {
    /// The signs as they are; none where all rows come.
    pub fn plain(batch: &Batch, groups: usize) -> Option<Signs> {
        let of_rows = |_: &_| (0..batch.rows()).map(|r| batch.kind(r).sign()).collect();
        batch.kinds.as_ref().map(of_rows).map(|of_rows| Signs { of_rows, anew: vec![false; groups] })
    }

    /// As Flink takes changes: a row that goes from a group that is not there is passed over, and with a group's last row all
    /// goes that it has kept. So a stream of changes may begin anywhere, and cuts between batches change nothing. `before` has
    /// the rows of each group before the batch.
    pub fn followed(batch: &Batch, assigned: &Assignment<'_>, mut rows: Vec<i64>) -> Option<Signs> {
        let mut signs = Signs::plain(batch, rows.len())?;
        let mut begins = vec![0; rows.len()];
        for (row, (sign, group)) in signs.of_rows.iter_mut().zip(&assigned.groups).enumerate() {
            let group = *group as usize;
            if *sign < 0 && rows[group] == 0 {
                *sign = 0;
                continue;
            }
            rows[group] += *sign;
            if rows[group] == 0 {
                (signs.anew[group], begins[group]) = (true, row + 1);
            }
        }
        if signs.anew.contains(&true) {
            for (row, (sign, group)) in signs.of_rows.iter_mut().zip(&assigned.groups).enumerate() {
                *sign = if row < begins[*group as usize] { 0 } else { *sign };
            }
        }
        Some(signs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int8Array};
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    #[test]
    fn changes_count_from_the_last_beginning_of_their_group() {
        let kinds = vec![3, 0, 1, 2, 3, 3, 0, 2];
        let groups = vec![0, 1, 1, 1, 0, 1, 0, 1];
        let rows = Batch::from_columns(Arc::new(Schema::empty()), Vec::<ArrayRef>::new(), kinds.len());
        let batch = rows.expect("a batch").with_kinds(Some(Int8Array::from(kinds)));
        let assigned = Assignment { groups, keys: vec![b"a", b"b"] };
        let signs = Signs::followed(&batch, &assigned, vec![0, 1]).expect("changes");
        assert_eq!(signs.of_rows, [0, 1, -1, 1, 0, -1, 1, 1]);
        assert_eq!(signs.anew, [false, false]);
        let signs = Signs::followed(&batch, &assigned, vec![1, 0]).expect("changes");
        assert_eq!(signs.of_rows, [0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(signs.anew, [true, true]);
        assert!(Signs::plain(&batch.with_kinds(None), 2).is_none());
    }
}
