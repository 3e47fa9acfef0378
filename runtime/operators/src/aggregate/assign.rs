//! Which group each row of a batch belongs to, and what its changes do to it.

use ahash::RandomState;
use hashbrown::HashMap;
use weir_core::Batch;
use weir_core::key::Keys;
use weir_core::keyed::BatchKeys;

/// Places from 0 for the groups of a batch alone.
pub(crate) fn assign(keys: &Keys) -> BatchKeys {
    let mut known: HashMap<&[u8], u32, RandomState> = HashMap::default();
    let mut found = BatchKeys { numbers: Vec::with_capacity(keys.len()), ..BatchKeys::default() };
    for row in 0..keys.len() {
        let key = keys.get(row);
        let number = match row.checked_sub(1) {
            Some(before) if keys.get(before) == key => found.numbers[before],
            _ => *known.entry(key).or_insert_with(|| {
                found.first.push(row as u32);
                found.first.len() as u32 - 1
            }),
        };
        found.numbers.push(number);
    }
    found.places = (0..found.first.len() as u32).collect();
    found
}

/// The rows of a batch, those of each group together and in their order; and where those of each group end.
pub(crate) fn by_group(found: &BatchKeys) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0; found.places.len()];
    found.numbers.iter().for_each(|n| ends[*n as usize] += 1);
    let mut at = 0;
    for end in &mut ends {
        (at, *end) = (at + *end, at);
    }
    // What is the begin of each group's rows until these are put there is then their end.
    let mut rows = vec![0; found.numbers.len()];
    for (row, number) in found.numbers.iter().enumerate() {
        let next = &mut ends[*number as usize];
        rows[*next] = row as u32;
        *next += 1;
    }
    (rows, ends)
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
    /// goes that it has kept. So a stream of changes may begin anywhere, and cuts between batches change nothing. `numbers` has
    /// the group of each row, `rows` the rows of each group before the batch.
    pub fn followed(batch: &Batch, numbers: &[u32], mut rows: Vec<i64>) -> Option<Signs> {
        let mut signs = Signs::plain(batch, rows.len())?;
        let mut begins = vec![0; rows.len()];
        for (row, (sign, group)) in signs.of_rows.iter_mut().zip(numbers).enumerate() {
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
            for (row, (sign, group)) in signs.of_rows.iter_mut().zip(numbers).enumerate() {
                *sign = if row < begins[*group as usize] { 0 } else { *sign };
            }
        }
        Some(signs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int8Array, Int32Array};
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    #[test]
    fn rows_are_put_to_their_groups() {
        let column: ArrayRef = Arc::new(Int32Array::from(vec![7, 7, 5, 7, 9, 5]));
        let found = assign(&Keys::encode(&[column], 6));
        assert_eq!(found.numbers, [0, 0, 1, 0, 2, 1]);
        assert_eq!((found.places.as_slice(), found.first.as_slice()), (&[0, 1, 2][..], &[0, 2, 4][..]));
        assert_eq!(by_group(&found), (vec![0, 1, 3, 2, 5, 4], vec![3, 5, 6]));
        assert_eq!(by_group(&BatchKeys::default()), (vec![], vec![]));
    }

    #[test]
    fn changes_count_from_the_last_beginning_of_their_group() {
        let kinds = vec![3, 0, 1, 2, 3, 3, 0, 2];
        let groups = vec![0, 1, 1, 1, 0, 1, 0, 1];
        let rows = Batch::from_columns(Arc::new(Schema::empty()), Vec::<ArrayRef>::new(), kinds.len());
        let batch = rows.expect("a batch").with_kinds(Some(Int8Array::from(kinds)));
        let signs = Signs::followed(&batch, &groups, vec![0, 1]).expect("changes");
        assert_eq!(signs.of_rows, [0, 1, -1, 1, 0, -1, 1, 1]);
        assert_eq!(signs.anew, [false, false]);
        let signs = Signs::followed(&batch, &groups, vec![1, 0]).expect("changes");
        assert_eq!(signs.of_rows, [0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(signs.anew, [true, true]);
        assert!(Signs::plain(&batch.with_kinds(None), 2).is_none());
    }
}
