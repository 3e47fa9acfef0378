//! Finds the fields of a JSON object that are read, without building the object. The scanner passes over the text once, and each field
//! stays a slice of it.

use super::json_text::{Broken, Scanner, said};
use weir_core::Field;

/// Finds the texts of `fields` in the object at the front of `record`. If a field occurs twice, the last one counts. What follows the
/// object is ignored.
///
/// # Errors
/// If the record does not begin with an object.
pub(super) fn find<'a>(record: &'a str, fields: &[Field], found: &mut Vec<Option<&'a str>>) -> Result<(), Broken> {
    found.clear();
    found.resize(fields.len(), None);
    // The records of a topic mostly have their fields in the same order.
    let mut next = 0;
    Scanner::new(record).members(|key, value| {
        let at = if fields.get(next).is_some_and(|f| f.name == key) && !key.contains('\\') {
            Some(next)
        } else {
            let key = said(key);
            fields.iter().position(|f| f.name == key)
        };
        if let Some(at) = at {
            found[at] = Some(value);
            next = at + 1;
        }
    })
}
