//! IN with many constants: a lookup in a set for each row.

use crate::context::EvalContext;
use crate::expr::{Expr, Function};
use arrow::array::{ArrayRef, BooleanArray};
use std::collections::HashSet;
use std::sync::Arc;
use weir_core::key::encode_value;
use weir_core::{Result, SqlType, TypeKind, Value};

struct InSet {
    /// The name, which contains the values, for plans and identities.
    name: String,
    keys: HashSet<Vec<u8>>,
    /// Whether NULL is among the values, so that the result is unknown for values that are not found.
    null: bool,
}

impl Function for InSet {
    fn name(&self) -> &str {
        &self.name
    }
    fn eval(&self, args: &[ArrayRef], rows: usize, _ty: &SqlType, _context: &mut EvalContext) -> Result<ArrayRef> {
        let column = &args[0];
        let mut key = vec![];
        let found: BooleanArray = (0..rows)
            .map(|i| {
                if column.is_null(i) {
                    return None;
                }
                key.clear();
                encode_value(&Value::read(column, i), column.data_type(), &mut key);
                match self.keys.contains(&key) {
                    true => Some(true),
                    false => (!self.null).then_some(false),
                }
            })
            .collect();
        Ok(Arc::new(found))
    }
    fn total(&self) -> bool {
        true
    }
}

/// Builds a test whether an expression's value is one of these values, which have its type.
pub fn in_set(expr: Expr, values: &[Value<'static>]) -> Expr {
    let ty = expr.ty();
    let arrow = ty.arrow();
    let mut set = InSet { name: String::new(), keys: HashSet::default(), null: false };
    let mut names = vec![];
    for v in values {
        if v.is_null() {
            set.null = true;
            names.push("NULL".to_string());
            continue;
        }
        let mut key = vec![];
        encode_value(v, &arrow, &mut key);
        if set.keys.insert(key) {
            // The name is part of the identity, so different values must have different texts.
            names.push(match v {
                Value::Bytes(bytes) => {
                    let digits: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
                    format!("X'{digits}'")
                }
                _ => {
                    let text = crate::text::cast_text(v, &ty, &crate::time::Zone::UTC);
                    if ty.is_text() { format!("'{}'", text.replace('\'', "''")) } else { text }
                }
            });
        }
    }
    set.name = format!("IN [{}]", names.join(", "));
    let ty = SqlType::from(TypeKind::Boolean).nullable(ty.nullable || set.null);
    Expr::Call { function: Arc::new(set), args: vec![expr], ty }
}
