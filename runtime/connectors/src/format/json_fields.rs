//! The fields of a JSON object that somebody reads, found without building the object: the scanner goes over the text once and
//! leaves each as the piece of text that it is.

use super::json_text::{Broken, Scanner, said};
use weir_core::Field;

/// Finds the texts of `fields` in the object at the front of `record`; a field that is there twice counts as it stands last.
/// What follows the object is left unread.
///
/// # Errors
/// When the record does not begin with an object.
pub(super) fn find<'a>(record: &'a str, fields: &[Field], found: &mut Vec<Option<&'a str>>) -> Result<(), Broken> {
    found.clear();
    found.resize(fields.len(), None);
    // Records of one topic mostly have their fields in one order.
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
