//! Hashes and encodings of bytes.

use super::arguments;
use super::table::*;
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha2::Digest;

pub(super) const ALL: &[Definition] = &[
    def("MD5", &[TextOrBytes], (1, 1), Type(|| T::Char(32)), Strict(|a, _| digest::<md5::Md5>(a))),
    def("SHA1", &[TextOrBytes], (1, 1), Type(|| T::Char(40)), Strict(|a, _| digest::<sha1::Sha1>(a))),
    def("SHA224", &[TextOrBytes], (1, 1), Type(|| T::Char(56)), Strict(|a, _| digest::<sha2::Sha224>(a))),
    def("SHA256", &[TextOrBytes], (1, 1), Type(|| T::Char(64)), Strict(|a, _| digest::<sha2::Sha256>(a))),
    def("SHA384", &[TextOrBytes], (1, 1), Type(|| T::Char(96)), Strict(|a, _| digest::<sha2::Sha384>(a))),
    def("SHA512", &[TextOrBytes], (1, 1), Type(|| T::Char(128)), Strict(|a, _| digest::<sha2::Sha512>(a))),
    def("SHA2", &[TextOrBytes, Int], (2, 2), Type(|| T::Varchar(128)), Strict(sha2)),
    def("TO_BASE64", &[TextOrBytes], (1, 1), Type(string), Strict(|a, _| Ok(Value::string(STANDARD.encode(raw(a)))))),
    def("FROM_BASE64", &[TextOrBytes], (1, 1), MaybeNull(string), Strict(from_base64)),
    def("HEX", &[Any], (1, 1), Type(string), Strict(hex_text)),
    def("UNHEX", &[Text], (1, 1), MaybeNull(bytes), Strict(unhex)),
    def("BIN", &[Long], (1, 1), Type(string), Strict(|a, _| Ok(Value::string(format!("{:b}", int_at(a, 0)))))),
];

#[track_caller]
fn raw<'a>(a: &'a [Value<'_>]) -> &'a [u8] {
    arguments::bytes(&a[0])
}

#[track_caller]
fn int_at(a: &[Value<'_>], i: usize) -> i64 {
    arguments::int(&a[i])
}

fn digest<D: Digest>(a: &[Value<'_>]) -> Outcome {
    Ok(Value::string(hex::encode(D::digest(raw(a)))))
}

fn sha2(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    match int_at(a, 1) {
        224 => digest::<sha2::Sha224>(a),
        256 => digest::<sha2::Sha256>(a),
        384 => digest::<sha2::Sha384>(a),
        512 => digest::<sha2::Sha512>(a),
        n => Err(format!("there is no SHA-2 of {n} bits; it is 224, 256, 384 or 512")),
    }
}

/// Decodes base64 as Java does: all padding characters may be missing together, and unused bits at the end are ignored.
fn from_base64(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    let text = raw(a);
    let padding =
        if text.ends_with(b"=") { DecodePaddingMode::RequireCanonical } else { DecodePaddingMode::RequireNone };
    let rules = GeneralPurposeConfig::new().with_decode_padding_mode(padding).with_decode_allow_trailing_bits(true);
    match GeneralPurpose::new(&alphabet::STANDARD, rules).decode(text) {
        Ok(b) => Ok(Value::string(String::from_utf8_lossy(&b).into_owned())),
        Err(_) => Err("the text is not base64".to_string()),
    }
}

fn hex_text(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    Ok(Value::string(match &a[0] {
        Value::Int(n) => format!("{n:X}"),
        v => hex::encode_upper(v.as_bytes().ok_or("takes a number, text or bytes")?),
    }))
}

fn unhex(a: &[Value<'_>], _: &Call<'_>) -> Outcome {
    // If the number of digits is odd, the first one becomes a zero byte.
    let (first, pairs) = raw(a).split_at(raw(a).len() % 2);
    match hex::decode(pairs) {
        Ok(b) if first.iter().all(u8::is_ascii_hexdigit) => Ok(Value::Bytes([vec![0; first.len()], b].concat().into())),
        _ => Ok(Value::Null),
    }
}
