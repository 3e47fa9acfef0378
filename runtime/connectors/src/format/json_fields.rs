//! The fields of a JSON object that somebody reads, found without building the object: the parser goes over the text once and
//! leaves each as the piece of text that it is.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use weir_core::Field;

/// Finds the texts of `fields` in the object at the front of `record`; a field that is there twice counts as it stands last.
/// What follows the object is left unread.
///
/// # Errors
/// When the record does not begin with an object.
pub(super) fn find<'de>(
    record: &'de [u8],
    fields: &[Field],
    found: &mut Vec<Option<&'de RawValue>>,
) -> Result<(), serde_json::Error> {
    found.clear();
    found.resize(fields.len(), None);
    let mut parser = serde_json::Deserializer::from_slice(record);
    Object { fields, found }.deserialize(&mut parser)
}

struct Object<'a, 'de> {
    fields: &'a [Field],
    found: &'a mut [Option<&'de RawValue>],
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Records of one topic mostly have their fields in one order.
        let mut next = 0;
        while let Some(at) = map.next_key_seed(Name { fields: self.fields, next })? {
            match at {
                Some(at) => {
                    self.found[at] = Some(map.next_value()?);
                    next = at + 1;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds a field by its name.
struct Name<'a> {
    fields: &'a [Field],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Option<usize>, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        if self.fields.get(self.next).is_some_and(|f| f.name == name) {
            return Ok(Some(self.next));
        }
        Ok(self.fields.iter().position(|f| f.name == name))
    }
}
