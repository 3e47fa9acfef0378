//! Replaces `${NAME}` in the values of options by environment variables.

use weir_core::error::Place;
use weir_core::{Error, Result, secrets};

/// Replaces the variables of a value, and registers their content as secret.
///
/// # Errors
/// If the environment has no such variable.
pub(crate) fn fill(written: &str, at: Option<Place>) -> Result<String> {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|n| start + n) else { break };
        let name = &rest[start + 2..end];
        out += &rest[..start];
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let value = std::env::var(name).map_err(|_| {
                let e = Error::script(format!("the environment has no variable {name}")).at(at);
                e.hint(format!("set it: {name}=… weir run …"))
            })?;
            secrets::keep(&value, &format!("${{{name}}}"));
            out += &value;
        } else {
            out += &rest[start..=end];
        }
        rest = &rest[end + 1..];
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn variables_are_filled_in() {
        // HOME is set wherever tests run.
        let home = std::env::var("HOME").unwrap_or_default();
        let put = |t: &str| fill(t, None).map_err(|e| e.message);
        assert_eq!(put("a ${HOME}/x ${HOME}"), Ok(format!("a {home}/x {home}")));
        assert_eq!(put("${not valid} $HOME ${open"), Ok("${not valid} $HOME ${open".to_string()));
        assert!(put("${NO_SUCH_VARIABLE}").is_err());
    }
}
