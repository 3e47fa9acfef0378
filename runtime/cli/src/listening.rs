//! The address at which a job shows its metrics and its interface, and the token that changes want there.

use crate::running::RunningJob;
use std::path::PathBuf;
use std::sync::Arc;
use weir_core::Result;
use weir_state::Folder;

/// The token.
enum Token {
    /// The environment gives it.
    Given(String),
    /// It was drawn for this process, and is in a file.
    Drawn(String, PathBuf),
}

impl Token {
    fn of(folder: &Folder) -> Result<Token> {
        match std::env::var("WEIR_TOKEN").ok().filter(|t| !t.is_empty()) {
            Some(token) => Ok(Token::Given(token)),
            None => folder.draw_token().map(|(token, file)| Token::Drawn(token, file)),
        }
    }

    fn text(&self) -> &str {
        match self {
            Token::Given(token) | Token::Drawn(token, _) => token,
        }
    }
}

/// Serves a job at an address, and says where.
pub fn listen(address: &str, running: &Arc<RunningJob>, folder: &Folder) -> Result<()> {
    let token = Token::of(folder)?;
    let bound = weir_server::serve(address, running.clone(), token.text().to_string())?;
    note!("metrics at http://{bound}/metrics");
    if let Token::Drawn(_, file) = token {
        note!("changes at this address want the token in {}", file.display());
    }
    Ok(())
}
