//! `weir udf`: makes, builds, shows, tests and times functions, with the engine's own sandbox.

use crate::arguments::{SdkLanguage, UdfArguments, UdfCommand};
use crate::output::line;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use weir_core::function_options::{ASSETS, NETWORK};
use weir_core::metrics::Metrics;
use weir_core::{Error, Result, SqlType, TypeKind, Value, builder};
use weir_expr::{EvalContext, OnError, Session};
use weir_udf_host::{Cache, Component, Limits, Loaded, SourceKind, WasmFunction, build, template};

/// Does what was asked, on a thread with room for a guest's stack.
pub fn run(a: &UdfArguments) -> Result<()> {
    std::thread::scope(|s| {
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(s, || act(a));
        match thread.map(|t| t.join()) {
            Ok(Ok(r)) => r,
            _ => Err(Error::internal("the thread of the function failed")),
        }
    })
}

fn act(a: &UdfArguments) -> Result<()> {
    match &a.command {
        UdfCommand::New { name, language } => new(name, *language),
        UdfCommand::Build { path, output } => {
            let built = build(&absolute(path), &Cache::of_user()?)?;
            let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let output = output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.wasm")));
            std::fs::copy(built.path(), &output)
                .map_err(|e| Error::tool(format!("cannot write {}", output.display())).caused_by(e))?;
            line(output.display());
            Ok(())
        }
        UdfCommand::Inspect { path, assets } => {
            let (loaded, size, _) = load(path, &options(None, assets.as_deref()))?;
            line("contract  weir:udf@1.0.0");
            line(format_args!("size      {size} bytes"));
            loaded.describe().iter().for_each(|l| line(format_args!("function  {l}")));
            Ok(())
        }
        UdfCommand::Test { path, cases, function, network, assets } => {
            let options = options(network.as_deref(), assets.as_deref());
            let f = one(path, function.as_deref(), &options, OnError::Null)?;
            match cases {
                Some(cases) => test_cases(&f, cases),
                None => test(&f, &read_rows()?),
            }
        }
        UdfCommand::Bench { path, function, rows, assets } => {
            let f = one(path, function.as_deref(), &options(None, assets.as_deref()), OnError::Fail)?;
            let given = read_rows()?;
            if given.is_empty() {
                return Err(Error::script("there are no lines of arguments on standard input"));
            }
            let all: Vec<Vec<Json>> = given.iter().cycle().take(*rows).cloned().collect();
            let (args, types) = columns(&all)?;
            let started = Instant::now();
            let mut done = 0;
            while done < all.len() {
                let n = 8192.min(all.len() - done);
                let part: Vec<_> = args.iter().map(|a| a.slice(done, n)).collect();
                call(&f, &part, &types, n)?;
                done += n;
            }
            let time = started.elapsed();
            line(format_args!(
                "{done} rows in {time:.2?}: {:.0} rows/s, {:.0} ns a row",
                done as f64 / time.as_secs_f64(),
                time.as_nanos() as f64 / done as f64
            ));
            Ok(())
        }
    }
}

/// Calls a function on rows of arguments, and prints what comes of each.
fn test(f: &WasmFunction, rows: &[Vec<Json>]) -> Result<()> {
    let results = results(f, rows)?;
    let failed = results.iter().filter(|r| r.is_err()).count();
    for result in results {
        line(result.unwrap_or_else(|e| format!("error: {e}")));
    }
    match failed {
        0 => Ok(()),
        n => Err(Error::data(format!("{n} of {} rows failed", rows.len()))),
    }
}

/// For each row of arguments the result as text, or why there is none.
fn results(f: &WasmFunction, rows: &[Vec<Json>]) -> Result<Vec<std::result::Result<String, String>>> {
    let (args, types) = columns(rows)?;
    let (out, ty, mut errors) = call(f, &args, &types, rows.len())?;
    let result = |row: usize| match errors.remove(&(row as u32)) {
        Some(e) => Err(e),
        None => {
            let mut text = String::new();
            weir_expr::text::print(&Value::read(&out, row), &ty, &mut text);
            Ok(text)
        }
    };
    Ok((0..rows.len()).map(result).collect())
}

/// A case of a function's tests.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    args: Vec<Json>,
    result: Option<Json>,
    error: Option<String>,
}

/// Calls a function on the cases of a file, and says which of them it does not pass.
fn test_cases(f: &WasmFunction, path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path);
    let text =
        text.map_err(|e| Error::script(format!("the cases in {} cannot be read", path.display())).caused_by(e))?;
    let mut cases: Vec<(usize, Case)> = vec![];
    for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let case = serde_json::from_str(line).map_err(|e| {
            Error::script(format!("{}, line {}", path.display(), n + 1))
                .caused_by(e)
                .hint(r#"a case is a line such as {"args": ["weir"], "result": "WEIR"}"#)
        })?;
        cases.push((n + 1, case));
    }
    if cases.is_empty() {
        return Err(Error::script(format!("there are no cases in {}", path.display())));
    }
    let rows: Vec<Vec<Json>> = cases.iter().map(|(_, c)| c.args.clone()).collect();
    let mut failed = 0;
    for ((at, case), given) in cases.iter().zip(results(f, &rows)?) {
        let wanted = match &case.error {
            Some(words) => format!("an error with '{words}'"),
            None => shown(case.result.as_ref().unwrap_or(&Json::Null)),
        };
        let passes = match (&given, &case.error) {
            (Ok(text), None) => *text == wanted,
            (Err(e), Some(words)) => e.contains(words.as_str()),
            _ => false,
        };
        if !passes {
            failed += 1;
            let given = given.unwrap_or_else(|e| format!("error: {e}"));
            line(format_args!("{}, line {at}: {given} instead of {wanted}", path.display()));
        }
    }
    match failed {
        0 => {
            line(format_args!("{} passed", cases.len()));
            Ok(())
        }
        n => Err(Error::data(format!("{n} of {} cases failed", cases.len()))),
    }
}

/// A result of a case as a function's results are printed.
fn shown(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Words that mean something else in a language.
const RUST: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
const PYTHON: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "none", "nonlocal", "not", "or", "pass",
    "raise", "return", "true", "false", "try", "while", "with", "yield", "udf",
];

/// Why a function cannot have a name.
fn taken(name: &str, language: SdkLanguage) -> Option<String> {
    let (words, of) = match language {
        SdkLanguage::Rust => (RUST, "Rust"),
        SdkLanguage::Python => (PYTHON, "Python"),
    };
    if words.contains(&name.to_ascii_lowercase().as_str()) {
        return Some(format!("is a word of {of}"));
    }
    weir_sql::reserved(name).then(|| "is a reserved word of SQL".to_string())
}

fn new(name: &str, language: SdkLanguage) -> Result<()> {
    let valid = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !valid {
        return Err(Error::script(format!("'{name}' cannot be the name of a function"))
            .hint("use letters, digits and underscores"));
    }
    if let Some(why) = taken(name, language) {
        return Err(
            Error::script(format!("'{name}' {why}")).hint("choose another name, for SQL calls the function by it")
        );
    }
    let (kind, word, file) = match language {
        SdkLanguage::Rust => (SourceKind::Rust, "RUST", name.to_string()),
        SdkLanguage::Python => (SourceKind::Python, "PYTHON", format!("{name}.py")),
    };
    let mut files = template(name, kind);
    files.push((
        format!("{name}.sql"),
        format!(
            "CREATE FUNCTION {name} AS '{name}' LANGUAGE {word} USING FILE '{file}';\n\nSELECT {name}(t.name) FROM (VALUES ('weir')) AS t (name);\n"
        ),
    ));
    files.push((format!("{name}.jsonl"), "{\"args\": [\"weir\"], \"result\": \"WEIR\"}\n".to_string()));
    // All are there, or none.
    if let Some((there, _)) = files.iter().find(|(path, _)| Path::new(path).exists()) {
        return Err(Error::script(format!("{there} is there already")).hint("remove it, or choose another name"));
    }
    for (path, text) in files {
        let path = PathBuf::from(path);
        let write = || -> std::io::Result<()> {
            if let Some(p) = path.parent() {
                std::fs::create_dir_all(p)?;
            }
            std::fs::write(&path, text)
        };
        write().map_err(|e| Error::tool(format!("cannot write {}", path.display())).caused_by(e))?;
        line(path.display());
    }
    note!("run it:  weir run {name}.sql");
    note!("test it: weir udf test {file} --cases {name}.jsonl");
    Ok(())
}

fn options(network: Option<&str>, assets: Option<&Path>) -> BTreeMap<String, String> {
    let network = network.map(|n| (NETWORK.key().to_string(), n.to_string()));
    let assets = assets.map(|a| (ASSETS.key().to_string(), absolute(a).display().to_string()));
    network.into_iter().chain(assets).collect()
}

/// Loads what a path holds; gives the component's size as well.
fn load(path: &Path, options: &BTreeMap<String, String>) -> Result<(Loaded, usize, Limits)> {
    let cache = Cache::of_user()?;
    let binary = build(&absolute(path), &cache)?;
    let limits = Limits::from_options(options, Path::new("."))?;
    let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let component = Component::load(&binary, &cache)?;
    Ok((Loaded::new(&component, &name, &limits, &Metrics::new()?)?, binary.bytes().len(), limits))
}

fn one(
    path: &Path,
    function: Option<&str>,
    options: &BTreeMap<String, String>,
    on_error: OnError,
) -> Result<WasmFunction> {
    let (loaded, _, limits) = load(path, options)?;
    loaded.function(function.unwrap_or_default(), on_error, None, &limits)
}

fn read_rows() -> Result<Vec<Vec<Json>>> {
    let mut rows = vec![];
    for (n, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|e| Error::data("cannot read standard input").caused_by(e))?;
        if line.trim().is_empty() {
            continue;
        }
        let parsed: Json = serde_json::from_str(&line).map_err(|e| {
            Error::data(format!("standard input, line {}", n + 1))
                .caused_by(e)
                .hint("a line is a JSON array of arguments: [\"1.2.3.4\", 5]")
        })?;
        rows.push(match parsed {
            Json::Array(a) => a,
            other => vec![other],
        });
    }
    Ok(rows)
}

/// Arguments as columns, their types from the first value that is none.
fn columns(rows: &[Vec<Json>]) -> Result<(Vec<arrow::array::ArrayRef>, Vec<SqlType>)> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut out = (vec![], vec![]);
    for c in 0..width {
        let first = rows.iter().filter_map(|r| r.get(c)).find(|v| !v.is_null());
        let ty = match first {
            Some(Json::Bool(_)) => SqlType::BOOLEAN,
            Some(Json::Number(n)) if n.is_i64() => SqlType::BIGINT,
            Some(Json::Number(_)) => SqlType::DOUBLE,
            _ => SqlType::STRING,
        };
        let one = |r: &Vec<Json>| match (r.get(c), &ty.kind) {
            (Some(Json::Bool(b)), TypeKind::Boolean) => Value::Bool(*b),
            (Some(v), TypeKind::BigInt) => v.as_i64().map_or(Value::Null, Value::Int),
            (Some(v), TypeKind::Double) => v.as_f64().map_or(Value::Null, Value::Double),
            (Some(Json::String(s)), _) => Value::string(s.clone()),
            (Some(Json::Null) | None, _) => Value::Null,
            (Some(v), _) => Value::string(v.to_string()),
        };
        out.0.push(builder::column(&ty.arrow(), rows.iter().map(one)));
        out.1.push(ty);
    }
    Ok(out)
}

type Called = (arrow::array::ArrayRef, SqlType, BTreeMap<u32, String>);

fn call(f: &WasmFunction, args: &[arrow::array::ArrayRef], types: &[SqlType], rows: usize) -> Result<Called> {
    let (casts, ty, function) = f.bind(types)?;
    let mut context = EvalContext::new(Arc::new(Session::default()));
    context.on_error = OnError::Null;
    let cast = args
        .iter()
        .zip(types.iter().zip(&casts))
        .map(|(a, (from, to))| weir_expr::cast::cast(a, from, to, false, &mut context))
        .collect::<Result<Vec<_>>>()?;
    let out = function.eval(&cast, rows, &ty, &mut context)?;
    let errors = context.errors.into_iter().map(|e| (e.row, e.message)).collect();
    Ok((out, ty, errors))
}
