//! The user and password for a server.

use crate::options::TableSpec;
use weir_core::option_spec::{Opt, Shown};
use weir_core::{Error, Result, options};

options! {
    /// The options of a login.
    pub(crate) OPTIONS:
    USERNAME: String = Opt::text("username", "the user to log in as").how().shown(Shown::Hidden);
    PASSWORD: String = Opt::text("password", "the user's password; an empty one counts as none").how().shown(Shown::Secret);
    PASSWORD_FILE: String =
        Opt::text("password.file", "a file whose first line is the password; excludes `password`").how().shown(Shown::Hidden);
}

/// The user that a table's options give.
pub(crate) fn user(table: &TableSpec) -> Result<Option<String>> {
    table.get(&USERNAME)
}

/// The password: from the option itself, or the first line of the file that `password.file` names. An empty one counts as none.
///
/// # Errors
/// If both are given, or the file cannot be read.
pub(crate) fn password(table: &TableSpec) -> Result<Option<String>> {
    let given = match (table.get(&PASSWORD)?, table.get(&PASSWORD_FILE)?) {
        (Some(_), Some(_)) => {
            let e = Error::script("'password' and 'password.file' exclude each other");
            return Err(e.at(table.place_of(&PASSWORD_FILE)));
        }
        (given, None) => given,
        (None, Some(file)) => {
            let path = table.base.join(file);
            let text = std::fs::read_to_string(&path).map_err(|e| {
                let wrong = Error::script(format!("cannot read 'password.file' {}", path.display()));
                wrong.caused_by(e).at(table.place_of(&PASSWORD_FILE))
            })?;
            Some(text.lines().next().unwrap_or_default().to_string())
        }
    };
    Ok(given.filter(|s| !s.is_empty()))
}
