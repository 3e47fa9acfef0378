//! Builds functions into components, by what they are made of: equal contents are built once.

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use weir_core::{Error, Result};

/// The SDKs' sources, inside the binary.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk");

/// The version of Python's tool chain.
const COMPONENTIZE: &str = "componentize-py==0.25.1";

/// What a function is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A component, taken as it is.
    Wasm,
    /// A Python file.
    Python,
    /// A Rust crate's folder.
    Rust,
}

impl Kind {
    /// What a path holds.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn of(path: &Path) -> Result<Kind> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("wasm") => Ok(Kind::Wasm),
            Some("py") => Ok(Kind::Python),
            _ if path.join("Cargo.toml").is_file() => Ok(Kind::Rust),
            _ => Err(Error::script(format!("{} is no function", path.display()))
                .hint("a function is a .py file, a folder with a Rust crate, or a .wasm component")),
        }
    }
}

/// The folder for what is built: `WEIR_CACHE`, or `weir` in the user's cache.
///
/// # Errors
/// When the machine has no such place.
pub fn cache_folder() -> Result<PathBuf> {
    let folder = match (std::env::var_os("WEIR_CACHE"), std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(w), ..) => PathBuf::from(w),
        (_, Some(x), _) => PathBuf::from(x).join("weir"),
        (.., Some(h)) => PathBuf::from(h).join(".cache/weir"),
        _ => {
            return Err(Error::tool("there is no folder for built functions").hint("name one by WEIR_CACHE"));
        }
    };
    std::fs::create_dir_all(&folder).map_err(|e| {
        Error::tool(format!("cannot make {}: {e}", folder.display())).hint("name another by WEIR_CACHE")
    })?;
    Ok(folder)
}

/// Builds what a path holds. Gives the component's path.
///
/// # Errors
/// When a tool is missing or the build fails; the message has the tool's own words.
pub fn build(path: &Path, cache: &Path) -> Result<PathBuf> {
    let kind = Kind::of(path)?;
    if kind == Kind::Wasm {
        return Ok(path.to_path_buf());
    }
    let sdk = unpack_sdk(cache)?;
    let mut sum = Sha256::new();
    sum.update(env!("CARGO_PKG_VERSION"));
    sum.update(sdk.file_name().map(|n| n.as_encoded_bytes()).unwrap_or_default());
    sum.update([kind as u8]);
    let root = if kind == Kind::Python { path.parent().unwrap_or(Path::new(".")) } else { path };
    let files = contents(root, kind)?;
    if kind == Kind::Python {
        sum.update(COMPONENTIZE);
        sum.update(path.file_name().map(|n| n.as_encoded_bytes()).unwrap_or_default());
    }
    for (name, bytes) in &files {
        sum.update(name);
        sum.update((bytes.len() as u64).to_le_bytes());
        sum.update(bytes);
    }
    let folder = cache.join("components");
    let target = folder.join(format!("{}.wasm", hex::encode(sum.finalize())));
    if target.is_file() {
        return Ok(target);
    }
    let io = |e: std::io::Error| Error::tool(format!("cannot build into {}: {e}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(io)?;
    tracing::info!("building the function {}, once", path.display());
    let draft = tempfile::NamedTempFile::new_in(&folder).map_err(io)?;
    match kind {
        Kind::Rust => rust(path, &sdk, cache, draft.path())?,
        _ => python(path, &files, &sdk, cache, draft.path())?,
    }
    draft.persist(&target).map_err(|e| io(e.error))?;
    Ok(target)
}

/// The files that a function is made of, by their relative names.
fn contents(root: &Path, kind: Kind) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut out = BTreeMap::new();
    let skip = |name: &str| name.starts_with('.') || ["target", "__pycache__", "node_modules"].contains(&name);
    let below = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
    for e in below.filter_entry(|e| e.depth() == 0 || !skip(&e.file_name().to_string_lossy())) {
        let e = e.map_err(|e| Error::script(format!("cannot read {}: {e}", root.display())))?;
        let name = e.path().strip_prefix(root).unwrap_or(e.path()).to_string_lossy().into_owned();
        // A Python function is its file and what lies beside it: modules and small tables, not whole data folders.
        let size = e.metadata().map(|m| m.len()).unwrap_or(0);
        let wanted = match kind {
            Kind::Python => e.depth() <= 3 && size <= 16 << 20 && !name.ends_with(".wasm") && !name.contains("Cargo."),
            _ => name != "Cargo.lock",
        };
        if e.file_type().is_file() && wanted {
            let bytes = std::fs::read(e.path()).map_err(|e| Error::script(format!("cannot read {name}: {e}")))?;
            out.insert(name, bytes);
        }
    }
    Ok(out)
}

/// Writes the SDKs where the tools can read them, in a folder named by their contents.
fn unpack_sdk(cache: &Path) -> Result<PathBuf> {
    fn walk(d: &'static Dir<'static>, out: &mut Vec<(PathBuf, &'static [u8])>) {
        out.extend(d.files().map(|f| (f.path().to_path_buf(), f.contents())));
        d.dirs().for_each(|d| walk(d, out));
    }
    let mut files = vec![];
    walk(&SDK, &mut files);
    files.retain(|(p, _)| !p.components().any(|c| c.as_os_str() == "target" || c.as_os_str() == "__pycache__"));
    files.sort();
    let mut sum = Sha256::new();
    for (p, b) in &files {
        sum.update(p.as_os_str().as_encoded_bytes());
        sum.update(b);
    }
    let folder = cache.join("sdk").join(&hex::encode(sum.finalize())[..16]);
    if folder.is_dir() {
        return Ok(folder);
    }
    let io = |e: std::io::Error| Error::tool(format!("cannot write {}: {e}", folder.display()));
    let above = cache.join("sdk");
    std::fs::create_dir_all(&above).map_err(io)?;
    let draft = tempfile::tempdir_in(&above).map_err(io)?;
    for (p, b) in &files {
        let to = draft.path().join(p);
        std::fs::create_dir_all(to.parent().unwrap_or(draft.path())).map_err(io)?;
        std::fs::write(to, b).map_err(io)?;
    }
    let draft = draft.keep();
    if let Err(e) = std::fs::rename(&draft, &folder)
        && !folder.is_dir()
    {
        return Err(io(e));
    }
    Ok(folder)
}

fn run(command: &mut Command, missing: &str) -> Result<std::process::Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::tool(format!("{name} is needed to build this function, and is not there")).hint(missing)
        }
        _ => Error::tool(format!("{name} does not start: {e}")),
    })
}

fn rust(path: &Path, sdk: &Path, cache: &Path, output: &Path) -> Result<()> {
    let install = "install Rust from https://rustup.rs, then: rustup target add wasm32-wasip2";
    let patch = format!("patch.crates-io.weir-udf.path={:?}", sdk.join("rust").display().to_string());
    let target = cache.join("cargo");
    let mut command = Command::new("cargo");
    command
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-wasip2",
            "--message-format",
            "json-render-diagnostics",
            "--config",
        ])
        .arg(patch)
        .arg("--manifest-path")
        .arg(path.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .current_dir(path);
    for v in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        command.env_remove(v);
    }
    let built = run(&mut command, install)?;
    if !built.status.success() {
        let words = String::from_utf8_lossy(&built.stderr);
        let e =
            Error::tool(format!("the function in {} does not compile:\n{}", path.display(), last_lines(&words, 60)));
        return Err(if words.contains("wasm32-wasip2") && words.contains("rustup target add") {
            e.hint("rustup target add wasm32-wasip2")
        } else {
            e
        });
    }
    let artifact = String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter_map(|m| m["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|f| f.as_str().map(PathBuf::from))
        .rfind(|f| f.extension().is_some_and(|e| e == "wasm"));
    let artifact = artifact.ok_or_else(|| {
        Error::tool(format!("the crate in {} makes no component", path.display()))
            .hint("its Cargo.toml needs: [lib] crate-type = [\"cdylib\"]")
    })?;
    std::fs::copy(&artifact, output).map_err(|e| Error::tool(format!("cannot copy {}: {e}", artifact.display())))?;
    Ok(())
}

fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(n)..].join("\n")
}

/// Python's tool chain in the cache, installed once.
fn tool_chain(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("python").join(COMPONENTIZE.replace("==", "-"));
    if folder.join("done").is_file() {
        return Ok(folder);
    }
    let install = "apt-get install python3 python3-pip (or python3-venv)";
    tracing::info!("installing {COMPONENTIZE} into {}, once", folder.display());
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|e| Error::tool(format!("cannot make {}: {e}", folder.display())))?;
    let libraries = folder.join("lib");
    let direct = run(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(&libraries)
            .arg(COMPONENTIZE),
        install,
    )?;
    if !direct.status.success() {
        // No pip of its own: a virtual environment brings one.
        let venv = folder.join("venv");
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&venv), install)?;
        let filled = if made.status.success() {
            run(
                Command::new(venv.join("bin/python"))
                    .args(["-m", "pip", "install", "--quiet", "--target"])
                    .arg(&libraries)
                    .arg(COMPONENTIZE),
                install,
            )?
        } else {
            made
        };
        if !filled.status.success() {
            let words = String::from_utf8_lossy(&direct.stderr).into_owned() + &String::from_utf8_lossy(&filled.stderr);
            return Err(Error::tool(format!("Python's tool chain cannot be installed:\n{}", last_lines(&words, 15)))
                .hint(install));
        }
    }
    std::fs::write(folder.join("done"), "").map_err(|e| Error::tool(e.to_string()))?;
    Ok(folder)
}

fn python(path: &Path, files: &BTreeMap<String, Vec<u8>>, sdk: &Path, cache: &Path, output: &Path) -> Result<()> {
    let module = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let valid =
        module.chars().all(|c| c.is_alphanumeric() || c == '_') && !module.starts_with(|c: char| c.is_ascii_digit());
    if !valid {
        return Err(Error::script(format!("{} is no name of a Python module", path.display()))
            .hint("name the file by letters, digits and underscores"));
    }
    let tools = tool_chain(cache)?;
    let work = tempfile::tempdir_in(cache).map_err(|e| Error::tool(e.to_string()))?;
    let (user, empty) = (work.path().join("user"), work.path().join("venv/lib/site-packages"));
    let io = |e: std::io::Error| Error::tool(format!("cannot prepare the build: {e}"));
    std::fs::create_dir_all(&empty).map_err(io)?;
    for (name, bytes) in files {
        let to = user.join(name);
        std::fs::create_dir_all(to.parent().unwrap_or(&user)).map_err(io)?;
        std::fs::write(to, bytes).map_err(io)?;
    }
    let note = format!("MODULE = {module:?}\nREPORT = \"/0/weir_report.json\"\n");
    std::fs::write(user.join("weir_build.py"), note).map_err(io)?;
    // A syntax error costs a fraction of a second here, and half a minute there.
    let parse = "import ast,sys; ast.parse(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1])";
    let parsed = run(Command::new("python3").args(["-c", parse]).arg(path), "apt-get install python3")?;
    if !parsed.status.success() {
        let words = String::from_utf8_lossy(&parsed.stderr);
        let from = words.rfind("  File ").unwrap_or(0);
        return Err(Error::script(format!("{} is no Python:\n{}", path.display(), words[from..].trim_end())));
    }
    let program = "import sys; from componentize_py import script; sys.exit(script())";
    let built = run(
        Command::new("python3")
            .args(["-c", program, "-q", "-d"])
            .arg(sdk.join("wit"))
            .args(["-w", "udf", "componentize", "weir_app", "-p"])
            .arg(&user)
            .arg("-p")
            .arg(sdk.join("python"))
            .arg("-o")
            .arg(output)
            .env("PYTHONPATH", tools.join("lib"))
            .env("VIRTUAL_ENV", work.path().join("venv"))
            .env_remove("RUST_BACKTRACE"),
        "apt-get install python3",
    )?;
    if built.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&built.stderr);
    let ours =
        words.split("--- weir: the file cannot be used ---").nth(1).and_then(|w| w.split("--- weir: end ---").next());
    let why = ours.map_or_else(|| last_lines(&words, 25), |w| w.trim().to_string());
    Err(Error::script(format!("{} cannot be used:\n{why}", path.display())))
}

/// The files of a new function: their names and contents.
pub fn template(name: &str, kind: Kind) -> Vec<(String, String)> {
    match kind {
        Kind::Python => vec![(
            format!("{name}.py"),
            format!("from weir_udf import udf\n\n\n@udf\ndef {name}(text: str) -> str:\n    return text.upper()\n"),
        )],
        _ => vec![
            (
                format!("{name}/Cargo.toml"),
                format!(
                    "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nweir-udf = \"0.1\"\n\n[profile.release]\nopt-level = 3\nlto = true\n\n[workspace]\n"
                ),
            ),
            (
                format!("{name}/src/lib.rs"),
                format!(
                    "use weir_udf::udf;\n\n#[udf]\nfn {name}(text: &str) -> String {{\n    text.to_uppercase()\n}}\n\nweir_udf::export!({name});\n"
                ),
            ),
        ],
    }
}
