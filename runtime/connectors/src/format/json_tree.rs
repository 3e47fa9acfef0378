//! The text of JSON values as Jackson's trees write it. Flink writes such text into a STRING column if the record has an array, an object
//! or a number there.

use super::json_text::{Broken, JsonToken, Scanner, said, what};
use super::scalars::big_decimal;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// Appends a text as a string in quotes, with the escapes that Jackson writes.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (i, b) in text.bytes().enumerate() {
        let short = match b {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            8 => "\\b",
            12 => "\\f",
            0..32 => "",
            _ => continue,
        };
        out.push_str(&text[from..i]);
        from = i + 1;
        if short.is_empty() {
            out.push_str(&format!("\\u{b:04X}"));
        } else {
            out.push_str(short);
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// How numbers with a fraction or an exponent are written in the text of an array or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fractions {
    /// As Java writes a double.
    Doubles,
    /// As Java writes a decimal without trailing zeros, which Flink does if a column is DECIMAL.
    Decimals,
}

/// A number as Jackson's tree writes it.
pub(super) fn number(text: &str, fractions: Fractions, out: &mut String) {
    if !text.contains(['.', 'e', 'E']) {
        out.push_str(if text == "-0" { "0" } else { text });
        return;
    }
    if fractions == Fractions::Decimals
        && let Some(plain) = big_decimal(text)
    {
        out.push_str(&plain);
        return;
    }
    // A number that the scanner has accepted is a number in Rust as well.
    let Ok(double) = text.parse::<f64>() else { panic!("'{text}' is no number, and was passed over as one") };
    if double.is_finite() {
        out.push_str(&weir_expr::text::double_text(double));
    } else {
        quote(&weir_expr::text::double_text(double), out);
    }
}

/// The text of a value as Jackson's trees write it: without white space, with each key once, and with numbers in one form.
pub(super) fn compact(text: &str, fractions: Fractions, out: &mut String) -> Result<(), Broken> {
    Compact { scanner: Scanner::new(text), fractions }.value(out)
}

struct Compact<'a> {
    scanner: Scanner<'a>,
    fractions: Fractions,
}

impl Compact<'_> {
    /// One call per level. The scanner has limited the number of levels before.
    fn value(&mut self, out: &mut String) -> Result<(), Broken> {
        match self.scanner.peek() {
            Some(b'{') => self.object(out),
            Some(b'[') => {
                self.scanner.take(b'[');
                out.push('[');
                let mut first = true;
                while !self.scanner.take(b']') {
                    if !first {
                        self.scanner.take(b',');
                        out.push(',');
                    }
                    first = false;
                    self.value(out)?;
                }
                out.push(']');
                Ok(())
            }
            _ => {
                let value = self.scanner.value()?;
                match what(value) {
                    JsonToken::String(s) => quote(&s, out),
                    JsonToken::Number(n) => number(n, self.fractions, out),
                    _ => out.push_str(value),
                }
                Ok(())
            }
        }
    }

    fn object(&mut self, out: &mut String) -> Result<(), Broken> {
        self.scanner.take(b'{');
        out.push('{');
        // The positions of values by their keys. A repeated key keeps its first position.
        let mut seen: HashMap<Cow<'_, str>, usize> = HashMap::new();
        let mut values: Vec<Range<usize>> = vec![];
        let mut again: Vec<(usize, String)> = vec![];
        while !self.scanner.take(b'}') {
            self.scanner.take(b',');
            let key = said(self.scanner.key()?);
            if let Some(at) = seen.get(&key) {
                let mut value = String::new();
                self.value(&mut value)?;
                again.push((*at, value));
                continue;
            }
            if !values.is_empty() {
                out.push(',');
            }
            quote(&key, out);
            out.push(':');
            let from = out.len();
            self.value(out)?;
            seen.insert(key, values.len());
            values.push(from..out.len());
        }
        if !again.is_empty() {
            let last: HashMap<usize, String> = again.into_iter().collect();
            let mut places: Vec<(&usize, &String)> = last.iter().collect();
            places.sort_unstable_by(|a, b| b.0.cmp(a.0));
            for (at, value) in places {
                out.replace_range(values[*at].clone(), value);
            }
        }
        out.push('}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(text: &str, fractions: Fractions) -> String {
        let mut out = String::new();
        let value = Scanner::new(text).value().unwrap_or_else(|e| panic!("{text}: {e}"));
        compact(value, fractions, &mut out).unwrap_or_else(|e| panic!("{text}: {e}"));
        out
    }

    #[test]
    fn a_value_is_what_a_real_flink_makes_of_it() {
        for (text, want) in [
            (r#"{"x":  1, "y": [1, 2.50, 1e3]}"#, r#"{"x":1,"y":[1,2.5,1000.0]}"#),
            (r#"[1,  "a", null, {"b": 1.10}]"#, r#"[1,"a",null,{"b":1.1}]"#),
            (
                r#"{"b":1e400, "c":1E5, "d":123456789012345678901234567890, "e":0.1000000000000000000000000001}"#,
                r#"{"b":"Infinity","c":100000.0,"d":123456789012345678901234567890,"e":0.1}"#,
            ),
            (r#"{"a b":"\u00e4\n\"/\/"}"#, r#"{"a b":"ä\n\"//"}"#),
            (r#"{"x":1,"y":2,"x":{"x":3,"x":4}}"#, r#"{"x":{"x":4},"y":2}"#),
            (
                "[ 1.0e10, 1e-7, 123456.789e3, 0.00001, 1E+2, -0.0, 1e15, 1e16, 12345678.9, 3.4028235E38 ]",
                "[1.0E10,1.0E-7,1.23456789E8,1.0E-5,100.0,-0.0,1.0E15,1.0E16,1.23456789E7,3.4028235E38]",
            ),
            (r#"{"$serde_json::private::Number":"5"}"#, r#"{"$serde_json::private::Number":"5"}"#),
            (" {} ", "{}"),
            (r#"["\u0001"]"#, r#"["\u0001"]"#),
        ] {
            assert_eq!(compacted(text, Fractions::Doubles), want, "{text}");
        }
        for (text, want) in [
            ("[1.10]", "[1.1]"),
            ("[1e3]", "[1E+3]"),
            ("[100.0]", "[1E+2]"),
            ("[0.0000001]", "[1E-7]"),
            ("[0.000001]", "[0.000001]"),
            ("[-12.30e1]", "[-123]"),
            ("[0.00]", "[0]"),
            ("[12.5e-9]", "[1.25E-8]"),
        ] {
            assert_eq!(compacted(text, Fractions::Decimals), want, "{text}");
        }
    }
}
