//! Assigns the rows of a batch to their groups, and determines the effect of each change on its group.

use ahash::RandomState;
use hashbrown::HashMap;
use weir_core::Batch;
use weir_core::key::Keys;
use weir_core::keyed::BatchKeys;

/// Assigns the rows of one batch to groups, which are numbered from 0 within the batch.
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

/// The rows of a batch ordered by group, in their original order within each group, and the end of each group's rows.
pub(crate) fn by_group(found: &BatchKeys) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0; found.places.len()];
    found.numbers.iter().for_each(|n| ends[*n as usize] += 1);
    let mut at = 0;
    for end in &mut ends {
        (at, *end) = (at + *end, at);
    }
    // Each entry is the start of a group's rows until these rows are filled in below; then it is their end.
    let mut rows = vec![0; found.numbers.len()];
    for (row, number) in found.numbers.iter().enumerate() {
        let next = &mut ends[*number as usize];
        rows[*next] = row as u32;
        *next += 1;
    }
    (rows, ends)
}

/// The effect of each change of a batch.
pub(super) struct Signs {
    /// 1 for an insertion, −1 for a retraction, 0 for a row that is ignored.
    pub of_rows: Vec<i64>,
    /// For each group, whether its last row was retracted within the batch, so that it starts anew with the rows after that.
    pub anew: Vec<bool>,
}

impl Signs {
    /// The signs of the rows' kinds, or none if all rows are insertions.
    pub fn plain(batch: &Batch, groups: usize) -> Option<Signs> {
        let of_rows = |_: &_| (0..batch.rows()).map(|r| batch.kind(r).sign()).collect();
        batch.kinds.as_ref().map(of_rows).map(|of_rows| Signs { of_rows, anew: vec![false; groups] })
    }

    /// The signs with Flink's semantics: a retraction for a group that does not exist is ignored, and the retraction of a group's last row
    /// discards all accumulators of the group. So a changelog may begin anywhere, and the cuts between batches do not matter. `numbers` has
    /// the group of each row, `rows` the number of rows of each group before the batch.
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
