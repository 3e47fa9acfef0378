//! Decrypts fields that their sender encrypted with AES-256-GCM.

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use std::sync::OnceLock;
use weir_udf::udf;

static CIPHER: OnceLock<Aes256Gcm> = OnceLock::new();

/// The bytes of the nonce, which stands in front of the encrypted text.
const NONCE: usize = 12;

/// Reads the key, 32 bytes, from the asset `events.key`.
fn load() -> Result<(), String> {
    let key = weir_udf::asset("events.key")?;
    let cipher = Aes256Gcm::new_from_slice(&key).map_err(|_| format!("the key has {} bytes, not 32", key.len()))?;
    CIPHER.set(cipher).map_err(|_| "loaded twice".to_string())
}

/// The text of an encrypted field. An error says that it was damaged, or encrypted with another key.
#[udf]
fn decrypt(field: &[u8]) -> Result<String, String> {
    let cipher = CIPHER.get().ok_or("there is no key")?;
    let (nonce, text) = field.split_at_checked(NONCE).ok_or("the field is too short")?;
    let text = cipher
        .decrypt(Nonce::from_slice(nonce), text)
        .map_err(|_| "the field is damaged, or its key is another one")?;
    String::from_utf8(text).map_err(|_| "the field is no text".to_string())
}

weir_udf::export!(open = load; decrypt);
