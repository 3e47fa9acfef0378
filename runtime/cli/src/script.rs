//! Scripts: read, compiled, checked, explained.

use crate::arguments::{CheckArguments, ExplainArguments, ExplainFormat, ScriptArguments};
use crate::functions::Loader;
use crate::output::{line, text};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use weir_connectors::REGISTRY;
use weir_core::metrics::Metrics;
use weir_core::{Error, Result, secrets};

/// A script and where it is from.
pub struct ScriptText {
    /// Its text.
    pub text: String,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// The name of its file, without folder and ending.
    pub stem: Option<String>,
    /// Its path, for messages.
    pub path: String,
    /// Settings from the command line.
    pub settings: BTreeMap<String, String>,
}

/// Reads a script.
pub fn read(script: &ScriptArguments) -> Result<ScriptText> {
    let path = script.script.as_ref().or(script.file.as_ref()).cloned().unwrap_or_default();
    let mut settings = script.config.as_deref().map_or(Ok(BTreeMap::new()), from_file)?;
    for s in &script.set {
        let (k, v) = s.split_once('=').ok_or_else(|| Error::script(format!("--set takes KEY=VALUE, not '{s}'")))?;
        settings.insert(k.trim().to_string(), v.trim().to_string());
    }
    let here = || std::env::current_dir().map_err(|e| Error::io("there is no current folder").caused_by(e));
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| Error::script("cannot read the script from standard input").caused_by(e))?;
        return Ok(ScriptText { text, base: here()?, stem: None, path: "-".to_string(), settings });
    }
    let bytes =
        std::fs::read(&path).map_err(|e| Error::script(format!("cannot read {}", path.display())).caused_by(e))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::script(format!("{} is not UTF-8", path.display())))?;
    let base = match path.parent() {
        Some(p) if p != Path::new("") => p.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let base = std::path::absolute(&base).unwrap_or(base);
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let text = text.trim_start_matches('\u{FEFF}').to_string();
    Ok(ScriptText { text, base, stem, path: path.display().to_string(), settings })
}

/// Settings of a file: TOML, of which tables are what keys begin with.
fn from_file(path: &Path) -> Result<BTreeMap<String, String>> {
    fn put(key: String, value: toml::Value, into: &mut BTreeMap<String, String>) -> Result<()> {
        let text = match value {
            toml::Value::Table(t) => {
                let below = |k: String| if key.is_empty() { k } else { format!("{key}.{k}") };
                return t.into_iter().try_for_each(|(k, v)| put(below(k), v, into));
            }
            toml::Value::String(s) => s,
            toml::Value::Integer(n) => n.to_string(),
            toml::Value::Float(n) => n.to_string(),
            toml::Value::Boolean(b) => b.to_string(),
            v => {
                return Err(Error::script(format!(
                    "'{key}' must be a text, a number or a boolean; it is: {}",
                    v.type_str()
                )));
            }
        };
        into.insert(key, text);
        Ok(())
    }
    let named = |e: Error| e.context(path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::script(format!("cannot read the settings in {}", path.display())).caused_by(e))?;
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| named(Error::script(e.to_string().trim_end())))?;
    let mut settings = BTreeMap::new();
    put(String::new(), toml::Value::Table(table), &mut settings).map_err(named)?;
    Ok(settings)
}

/// Says everything that is wrong with a script.
pub fn check(a: &CheckArguments) -> Result<()> {
    let source = read(&a.script)?;
    let loader = Loader::new(Metrics::new()?, source.base.clone(), a.build);
    let (compiled, mut errors) =
        weir_sql::diagnose(&source.text, &source.base, source.settings.clone(), &loader, REGISTRY);
    if errors.is_empty()
        && let Some(c) = &compiled
        && !c.inserts.is_empty()
        && let Err(e) = crate::assemble::assemble(c, &source.base)
    {
        errors.push(e);
    }
    for e in &errors {
        note!("{}: {e}", source.path);
    }
    match errors.len() {
        0 => {
            note!("{}: no errors", source.path);
            Ok(())
        }
        n => Err(Error::script(format!("{n} error{} in {}", if n == 1 { "" } else { "s" }, source.path))),
    }
}

/// Shows how a job would run.
pub fn explain(a: &ExplainArguments) -> Result<()> {
    let source = read(&a.script)?;
    let loader = Loader::new(Metrics::new()?, source.base.clone(), a.build);
    let compiled = weir_sql::compile(&source.text, &source.base, source.settings, &loader, REGISTRY)?;
    let format = match a.format {
        ExplainFormat::Text => weir_plan::Format::Text,
        ExplainFormat::Json => weir_plan::Format::Json,
        ExplainFormat::Mermaid => weir_plan::Format::Mermaid,
    };
    text(secrets::shown(&weir_plan::explain(&compiled.inserts, compiled.mode, format), true));
    if a.format as u8 == ExplainFormat::Text as u8 {
        let assembled = crate::assemble::assemble(&compiled, &source.base)?;
        line("\nOperators:");
        for n in &assembled.graph.nodes {
            line(format_args!("  {} x{}", n.name, n.parallelism));
        }
    }
    Ok(())
}
