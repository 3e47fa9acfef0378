//! Conversion of texts to single values, as CSV and JSON share it.

use super::times;
use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use weir_core::Value;
use weir_expr::{arith, cast};

/// Maximum exponent of a number, positive or negative.
const LARGEST_EXPONENT: u32 = 100_000;

/// Parses an integer of up to 18 digits with nothing around it, which is the common case.
pub(super) fn short_integer(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut v = 0i64;
    for b in digits {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        v = v * 10 + i64::from(d);
    }
    Some(sign * v)
}

/// Parses a decimal; NULL if it has too many digits.
pub(super) fn decimal(text: &str, precision: u8, scale: u8) -> Option<Value<'static>> {
    if let Some((_, exponent)) = text.split_once(['e', 'E'])
        && exponent.parse::<i32>().is_ok_and(|e| e.unsigned_abs() > LARGEST_EXPONENT)
    {
        return None;
    }
    let (v, from) = cast::parse_decimal(text, scale)?;
    let fitted = arith::fits(arith::rescale(v, from, scale), precision);
    Some(fitted.map_or(Value::Null, |v| Value::Decimal(v, scale)))
}

/// A number's text as Java's BigDecimal writes it, without trailing zeros; none if the exponent is out of range.
pub(super) fn big_decimal(text: &str) -> Option<String> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |t| ("-", t));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok().filter(|e: &i64| e.unsigned_abs() <= 1 << 31)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0').trim_end_matches('0');
    if digits.is_empty() {
        return Some("0".to_string());
    }
    let zeros = all.len() - all.trim_end_matches('0').len();
    let scale = fraction.len() as i64 - exponent - zeros as i64;
    let adjusted = digits.len() as i64 - 1 - scale;
    let text = if scale == 0 {
        digits.to_string()
    } else if scale > 0 && adjusted >= -6 {
        let padded = format!("{digits:0>width$}", width = scale as usize + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale as usize);
        format!("{whole}.{fraction}")
    } else {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{first}{point}{rest}E{adjusted:+}")
    };
    Some(sign.to_string() + &text)
}

/// A date and a time as a timestamp with this precision. Further digits are truncated.
pub(super) fn timestamp(text: &str, iso: bool, digits: u8) -> Option<Value<'static>> {
    let (seconds, nanos) = times::timestamp(text, iso)?;
    let unit = 10u32.pow(9 - u32::from(digits).min(9));
    Some(Value::Timestamp(seconds, nanos / unit * unit))
}

/// Base64 as Jackson accepts it: with white space, and with leftover bits at the end.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Decodes base64.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|b| b <= b' ') {
        let text: Vec<u8> = text.bytes().filter(|b| *b > b' ').collect();
        return LENIENT.decode(text).ok();
    }
    LENIENT.decode(text).ok()
}
