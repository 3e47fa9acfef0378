//! Checks rows on their way into a sink against the declared columns of its table: NOT NULL, and the lengths of CHAR, VARCHAR, BINARY and
//! VARBINARY. Flink calls this the ConstraintEnforcer. For a column without NULLs, this only reads one counter per batch.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray, UInt32Array};
use arrow::datatypes::SchemaRef;
use std::borrow::Cow;
use std::sync::Arc;
use weir_core::constraints::{Constraints, Rules, length};
use weir_core::graph::{Collector, Operator, OperatorFactory, SubtaskContext};
use weir_core::{Batch, ColumnBuilder, Error, Result, Schema, SqlType, TypeKind, Value};
use weir_expr::functions::size;

/// Creates the operators that enforce the constraints of a table's columns.
pub struct EnforceFactory {
    /// The name of the table, for errors.
    pub table: String,
    /// The columns.
    pub schema: Schema,
    /// The constraints to enforce.
    pub constraints: Constraints,
}

/// The violation by a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wrong {
    Null,
    /// The value has this length, which its type does not allow.
    Length(usize, TypeKind),
}

/// The length of a value, if its type does not allow it.
fn wrong_length(value: &Value<'_>, ty: &SqlType) -> Option<usize> {
    let (most, exact) = length(ty)?;
    let found = match value {
        Value::Text(s) => s.chars().count(),
        Value::Bytes(b) => b.len(),
        _ => return None,
    };
    (found > most || exact && found < most).then_some(found)
}

/// The first violation within a value, with the path to it.
fn wrong_within(value: &Value<'_>, ty: &SqlType, rules: Rules) -> Option<(String, Wrong)> {
    let at = |v: &Value<'_>, t: &SqlType, name: &str| match v {
        Value::Null => (!t.nullable).then(|| (name.to_string(), Wrong::Null)),
        v => match wrong_length(v, t).filter(|_| rules.fits_length == Some(false)) {
            Some(n) => Some((name.to_string(), Wrong::Length(n, t.kind.clone()))),
            None => wrong_within(v, t, rules).map(|(path, wrong)| (format!("{name}{path}"), wrong)),
        },
    };
    match (value, &ty.kind) {
        (Value::Row(items), TypeKind::Row(fields)) if rules.rows => {
            items.iter().zip(fields).find_map(|(v, f)| at(v, &f.ty, &format!(".{}", f.name)))
        }
        (Value::List(items), TypeKind::Array(e)) if rules.collections => {
            items.iter().enumerate().find_map(|(i, v)| at(v, e, &format!("[{i}]")))
        }
        (Value::Map(items), TypeKind::Map(k, v)) if rules.collections => {
            items.iter().find_map(|(key, value)| at(key, k, "[key]").or_else(|| at(value, v, "[value]")))
        }
        (Value::Map(items), TypeKind::Multiset(e)) if rules.collections => {
            items.iter().find_map(|(v, _)| at(v, e, "[element]"))
        }
        _ => None,
    }
}

/// Pads or truncates a value and its nested values to their declared lengths. Sets `changed` if that changed anything.
fn fit_within(value: Value<'_>, ty: &SqlType, rules: Rules, changed: &mut bool) -> Value<'static> {
    *changed |= wrong_length(&value, ty).is_some();
    match (value, length(ty), &ty.kind) {
        (Value::Text(s), Some((most, exact)), _) => Value::string(fit_text(&s, most, exact).into_owned()),
        (Value::Bytes(b), Some((most, exact)), _) => Value::Bytes(fit_bytes(&b, most, exact).into_owned().into()),
        (Value::Row(items), _, TypeKind::Row(fields)) if rules.rows => {
            Value::Row(items.into_iter().zip(fields).map(|(v, f)| fit_within(v, &f.ty, rules, changed)).collect())
        }
        (value, ..) => value.into_owned(),
    }
}

impl OperatorFactory for EnforceFactory {
    fn open(&self, context: SubtaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Enforce {
            table: self.table.clone(),
            arrow: self.schema.arrow(),
            schema: self.schema.clone(),
            constraints: self.constraints.clone(),
            context,
        }))
    }
}

struct Enforce {
    table: String,
    schema: Schema,
    arrow: SchemaRef,
    constraints: Constraints,
    context: SubtaskContext,
}

impl Enforce {
    fn broken(&self, batch: &Batch, row: usize, why: String, hint: &str) -> Error {
        let e = Error::data(why).hint(hint);
        match &batch.origins {
            Some(origins) => e.context(origins.of(row as u32).0),
            None => e,
        }
    }

    fn wrong(&self, batch: &Batch, row: usize, path: &str, wrong: &Wrong) -> Error {
        let column = format!("column '{path}' of table '{}'", self.table);
        match wrong {
            Wrong::Null => {
                let hint = "SET 'table.exec.sink.not-null-enforcer' = 'DROP' leaves such rows out";
                self.broken(batch, row, format!("{column} is NOT NULL, and gets a NULL"), hint)
            }
            Wrong::Length(n, kind) => {
                let what = if matches!(kind, TypeKind::Char(_) | TypeKind::Varchar(_)) { "a text" } else { "bytes" };
                let hint = "SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD' cuts and fills up such values";
                self.broken(batch, row, format!("{column} is {kind}, and gets {what} of length {n}"), hint)
            }
        }
    }

    /// The rows to keep; none: all.
    fn without_nulls(&self, batch: &Batch) -> Result<Option<BooleanArray>> {
        let mut dropped: Vec<usize> = vec![];
        for c in &self.constraints.not_null {
            let column = batch.data.column(*c);
            if column.null_count() == 0 {
                continue;
            }
            for row in (0..batch.rows()).filter(|r| column.is_null(*r)) {
                if !self.constraints.rules.drops_null {
                    return Err(self.wrong(batch, row, &self.schema.fields[*c].name, &Wrong::Null));
                }
                dropped.push(row);
            }
        }
        for c in &self.constraints.nested {
            let (column, f) = (batch.data.column(*c), &self.schema.fields[*c]);
            for row in 0..batch.rows() {
                let Some((path, wrong)) = wrong_within(&Value::read(column, row), &f.ty, self.constraints.rules) else {
                    continue;
                };
                if wrong != Wrong::Null || !self.constraints.rules.drops_null {
                    return Err(self.wrong(batch, row, &format!("{}{path}", f.name), &wrong));
                }
                dropped.push(row);
            }
        }
        if dropped.is_empty() {
            return Ok(None);
        }
        let mut keep = vec![true; batch.rows()];
        dropped.into_iter().for_each(|r| keep[r] = false);
        Ok(Some(BooleanArray::from(keep)))
    }

    /// Pads or truncates the values of a column; none if nothing changes.
    fn fitted(&self, batch: &Batch, column: usize) -> Result<Option<ArrayRef>> {
        let (array, f) = (batch.data.column(column), &self.schema.fields[column]);
        let Some((most, exact)) = length(&f.ty) else { return Ok(None) };
        let wrong = |found: usize| if exact { found != most } else { found > most };
        // The bytes are counted first, since a text never has more characters than bytes.
        let found = |row: usize| match array.as_string_opt::<i32>() {
            Some(texts) => {
                let text = texts.value(row);
                if !exact && text.len() <= most { text.len() } else { text.chars().count() }
            }
            None => array.as_binary::<i32>().value(row).len(),
        };
        let Some((row, n)) =
            (0..array.len()).filter(|r| array.is_valid(*r)).map(|r| (r, found(r))).find(|(_, n)| wrong(*n))
        else {
            return Ok(None);
        };
        if self.constraints.rules.fits_length == Some(false) {
            return Err(self.wrong(batch, row, &f.name, &Wrong::Length(n, f.ty.kind.clone())));
        }
        if exact && n < most {
            size::fits(most).map_err(|why| {
                let what = format!("column '{}' of table '{}' is {}: {why}", f.name, self.table, f.ty.kind);
                self.broken(batch, row, what, "VARCHAR and VARBINARY are not filled up")
            })?;
        }
        Ok(Some(match array.as_string_opt::<i32>() {
            Some(texts) => Arc::new(texts.iter().map(|t| t.map(|t| fit_text(t, most, exact))).collect::<StringArray>()),
            None => {
                let all = array.as_binary::<i32>().iter();
                Arc::new(all.map(|b| b.map(|b| fit_bytes(b, most, exact))).collect::<BinaryArray>())
            }
        }))
    }
}

impl Enforce {
    /// The maximum number of rows that can be padded at once.
    fn rows_at_once(&self) -> usize {
        let fixed = self
            .constraints
            .lengths
            .iter()
            .filter_map(|c| length(&self.schema.fields[*c].ty))
            .filter(|(_, exact)| *exact);
        match fixed.map(|(most, _)| most).max().filter(|_| self.constraints.rules.fits_length == Some(true)) {
            Some(most) => (size::MOST_OF_BATCH / most.max(1)).max(1),
            None => usize::MAX,
        }
    }

    /// Pads or truncates the fields within a column of rows; none if nothing changes.
    fn fitted_within(&self, batch: &Batch, column: usize) -> Option<ArrayRef> {
        let (array, ty) = (batch.data.column(column), &self.schema.fields[column].ty);
        let mut changed = false;
        let mut out = ColumnBuilder::new(&ty.arrow());
        (0..array.len())
            .for_each(|r| out.push(&fit_within(Value::read(array, r), ty, self.constraints.rules, &mut changed)));
        changed.then(|| out.finish())
    }
}

fn fit_text(text: &str, most: usize, exact: bool) -> Cow<'_, str> {
    let count = text.chars().count();
    if count > most {
        let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
        return Cow::Borrowed(&text[..end]);
    }
    if exact && count < most { Cow::Owned(text.to_string() + &" ".repeat(most - count)) } else { Cow::Borrowed(text) }
}

fn fit_bytes(bytes: &[u8], most: usize, exact: bool) -> Cow<'_, [u8]> {
    if exact && bytes.len() < most {
        let mut all = bytes.to_vec();
        all.resize(most, 0);
        return Cow::Owned(all);
    }
    Cow::Borrowed(&bytes[..bytes.len().min(most)])
}

impl Operator for Enforce {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Collector) -> Result<()> {
        // Rows to be padded are split into parts if a column of all of them would be too large.
        let most = self.rows_at_once();
        if batch.rows() <= most {
            return self.part(batch, out);
        }
        for from in (0..batch.rows()).step_by(most) {
            let rows = from as u32..batch.rows().min(from + most) as u32;
            self.part(batch.take(&UInt32Array::from_iter_values(rows))?, out)?;
        }
        Ok(())
    }
}

impl Enforce {
    fn part(&mut self, batch: Batch, out: &mut Collector) -> Result<()> {
        let mut batch = match self.without_nulls(&batch)? {
            Some(keep) => {
                self.context.metrics.skipped.inc_by((keep.len() - keep.true_count()) as u64);
                batch.filter(&keep)?
            }
            None => batch,
        };
        let mut columns: Option<Vec<ArrayRef>> = None;
        for c in &self.constraints.lengths {
            if let Some(fitted) = self.fitted(&batch, *c)? {
                columns.get_or_insert_with(|| batch.data.columns().to_vec())[*c] = fitted;
            }
        }
        if self.constraints.rules.fits_length == Some(true) {
            for c in &self.constraints.nested {
                if let Some(fitted) = self.fitted_within(&batch, *c) {
                    columns.get_or_insert_with(|| batch.data.columns().to_vec())[*c] = fitted;
                }
            }
        }
        if let Some(columns) = columns {
            batch = Batch::from_columns(self.arrow.clone(), columns, batch.rows())?
                .with_kinds(batch.kinds.clone())
                .with_origins(batch.origins.clone());
        }
        out.emit(batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_and_filled_up_by_characters() {
        assert_eq!(fit_text("äöü", 2, false), "äö");
        assert_eq!(fit_text("ä", 3, true), "ä  ");
        assert_eq!(fit_text("ä", 3, false), "ä");
        assert_eq!(fit_text("", 0, true), "");
        assert_eq!(*fit_bytes(&[1, 2, 3, 4], 3, true), [1, 2, 3]);
        assert_eq!(*fit_bytes(&[1], 3, true), [1, 0, 0]);
        assert_eq!(*fit_bytes(&[1], 3, false), [1]);
    }

    #[test]
    fn what_lies_within_is_looked_at_as_far_as_is_asked() {
        let rules = |rows, collections| Rules { drops_null: false, rows, collections, fits_length: None };
        let array = |t: SqlType| SqlType::from(TypeKind::Array(Box::new(t)));
        let row = SqlType::from(TypeKind::Row(vec![
            weir_core::Field::new("id", SqlType::INT.not_null()),
            weir_core::Field::new("tags", array(SqlType::STRING.not_null())),
        ]));
        let value = |id, tag| Value::Row(vec![id, Value::List(vec![Value::text("x"), tag])]);
        let one = value(Value::Null, Value::text("y"));
        let null = |path: &str| Some((path.to_string(), Wrong::Null));
        assert_eq!(wrong_within(&one, &row, rules(false, false)), None);
        assert_eq!(wrong_within(&one, &row, rules(true, false)), null(".id"));
        let two = value(Value::Int(1), Value::Null);
        assert_eq!(wrong_within(&two, &row, rules(true, false)), None);
        assert_eq!(wrong_within(&two, &row, rules(true, true)), null(".tags[1]"));
        assert_eq!(wrong_within(&Value::Row(vec![Value::Int(1), Value::Null]), &row, rules(true, true)), None);
        // Rows within collections are looked at with those.
        let rows = array(row.clone());
        let asked = |ty: &SqlType, rules| {
            let schema = Schema::new(vec![weir_core::Field::new("x", ty.clone())]);
            Constraints::of("t", &schema, rules).expect("constraints").is_some()
        };
        assert!(!asked(&rows, rules(true, false)) && asked(&rows, rules(true, true)));
        assert!(!asked(&array(SqlType::INT), rules(true, true)));
    }
    #[test]
    fn lengths_within_rows_are_held_too() {
        let field = |name: &str, kind: TypeKind| weir_core::Field::new(name, kind.into());
        let row = SqlType::from(TypeKind::Row(vec![field("a", TypeKind::Varchar(2)), field("b", TypeKind::Binary(2))]));
        let rules = |fits| Rules { drops_null: false, rows: true, collections: false, fits_length: Some(fits) };
        let value = || Value::Row(vec![Value::text("abc"), Value::Bytes(vec![1].into())]);
        assert_eq!(
            wrong_within(&value(), &row, rules(false)),
            Some((".a".to_string(), Wrong::Length(3, TypeKind::Varchar(2))))
        );
        assert_eq!(wrong_within(&value(), &row, rules(true)), None);
        let mut changed = false;
        let fitted = fit_within(value(), &row, rules(true), &mut changed);
        assert_eq!((fitted, changed), (Value::Row(vec![Value::text("ab"), Value::Bytes(vec![1, 0].into())]), true));
        let (schema, all) = (
            Schema::new(vec![weir_core::Field::new("x", TypeKind::Array(Box::new(row)).into())]),
            Rules { collections: true, ..rules(true) },
        );
        assert!(Constraints::of("t", &schema, all).is_err());
        assert!(matches!(Constraints::of("t", &schema, rules(true)), Ok(None)));
    }
}
