//! Single values as texts, in the forms that CSV and JSON have alike.

use super::times;
use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use weir_core::Value;
use weir_expr::{arith, cast};

/// The exponent of ten that a number may have, either way.
const LARGEST_EXPONENT: u32 = 100_000;

/// An integer of up to 18 digits without anything around it, the usual case.
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

/// A number's text as a decimal; NULL where it has too many digits.
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

/// A number as Java's BigDecimal writes it, without the zeros at its end; none where the exponent is beyond all reason.
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

/// A date and a time as a timestamp of so many digits, the others cut off.
pub(super) fn timestamp(text: &str, iso: bool, digits: u8) -> Option<Value<'static>> {
    let (seconds, nanos) = times::timestamp(text, iso)?;
    let unit = 10u32.pow(9 - u32::from(digits).min(9));
    Some(Value::Timestamp(seconds, nanos / unit * unit))
}

/// Bytes in base64 as Jackson takes them: white space between, and bits left over at the end.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The bytes that a text in base64 stands for.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|b| b <= b' ') {
        let text: Vec<u8> = text.bytes().filter(|b| *b > b' ').collect();
        return LENIENT.decode(text).ok();
    }
    LENIENT.decode(text).ok()
}
