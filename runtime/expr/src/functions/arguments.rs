//! Reads arguments as the types that their parameters declare. An argument of another type is a bug and never converted: reading it panics,
//! which the evaluation catches and reports with the row and place (`eval.rs`).

use weir_core::Value;

/// A text. It is empty for NULL, which only lenient functions receive.
#[track_caller]
pub(super) fn text<'a>(v: &'a Value<'_>) -> &'a str {
    match v {
        Value::Null => "",
        v => match v.as_str() {
            Some(found) => found,
            None => other(v, "a text"),
        },
    }
}

/// The bytes of a text or binary value. They are empty for NULL.
#[track_caller]
pub(super) fn bytes<'a>(v: &'a Value<'_>) -> &'a [u8] {
    match v {
        Value::Null => &[],
        v => match v.as_bytes() {
            Some(found) => found,
            None => other(v, "bytes"),
        },
    }
}

/// A whole number. NULL gives 0.
#[track_caller]
pub(super) fn int(v: &Value<'_>) -> i64 {
    match v {
        Value::Null => 0,
        v => match v.as_i64() {
            Some(found) => found,
            None => other(v, "a whole number"),
        },
    }
}

/// Any number as a double. NULL gives NaN.
#[track_caller]
pub(super) fn double(v: &Value<'_>) -> f64 {
    match v {
        Value::Null => f64::NAN,
        v => match v.as_f64() {
            Some(found) => found,
            None => other(v, "a number"),
        },
    }
}

#[track_caller]
fn other(v: &Value<'_>, wanted: &str) -> ! {
    panic!("an argument that is no such value is read as {wanted}: {v:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_of_another_type_is_no_default() {
        assert_eq!(
            (text(&Value::Null), int(&Value::Int(7)), bytes(&Value::string("a".to_string()))),
            ("", 7, &b"a"[..])
        );
        let line = line!() + 1;
        let said = weir_core::panics::caught(|| int(&Value::Bool(true))).expect_err("a mistake");
        assert!(
            said.contains("is read as a whole number") && said.ends_with(&format!("(arguments.rs:{line})")),
            "{said}"
        );
        assert!(weir_core::panics::caught(|| text(&Value::Int(1)).len()).is_err());
    }
}
