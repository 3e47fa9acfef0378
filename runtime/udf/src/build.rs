//! Builds functions into components. Builds are cached by content.
//!
//! A build may run code of the function's author on the machine itself (a crate's build script or macros). So it only happens on request,
//! in processes without the job's environment and with limited memory and time.

use crate::binary::Binary;
use crate::cache::Cache;
use crate::child::{self, Bounds, Ended, Failed};
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use weir_core::{Error, Result};

/// The source code of the SDKs, embedded in the binary.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../udf-sdk");

/// Python's tool chain and time zones: the versions, and the checksums of the packages for every supported system.
const COMPONENTIZE: &str = "componentize-py==0.25.1 \
--hash=sha256:8623cd8cab8453cb0cd8bf03f3c7103420d06f2f3d360186a280a70a1ca5e89f \
--hash=sha256:7b6a87c520358166843af0daa86d2312d7af4cbcbbf1e598951085cf7f2991ca \
--hash=sha256:65fbc4a94df1de8acf7da50a1f5ed1711230188844e53e6332d99029be4e0afa \
--hash=sha256:a556991534cc496207a9d2ca733c4b0f17ed38ef56a8d6b5f1847fdf1225dd1b
tzdata==2026.6 --hash=sha256:0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec";

/// The limits of a build.
const BOUNDS: Bounds = Bounds { memory: 6 << 30, time: Duration::from_secs(20 * 60) };

/// The kind of a function's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A component, which needs no build.
    Wasm,
    /// A Python file.
    Python,
    /// The folder of a Rust crate.
    Rust,
}

impl SourceKind {
    /// Determines the kind of a path.
    ///
    /// # Errors
    /// If it is none of these kinds.
    pub fn of(path: &Path) -> Result<SourceKind> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("wasm") => Ok(SourceKind::Wasm),
            Some("py") => Ok(SourceKind::Python),
            _ if path.join("Cargo.toml").is_file() => Ok(SourceKind::Rust),
            _ => Err(Error::script(format!("{} is no function", path.display()))
                .hint("a function is a .py file, a folder with a Rust crate, or a .wasm component")),
        }
    }
}

/// The source of a function, and the name of its component in the cache.
struct FunctionSource<'a> {
    path: &'a Path,
    files: BTreeMap<String, Vec<u8>>,
    /// The component's name in the cache.
    name: String,
}

impl FunctionSource<'_> {
    fn read(path: &Path, kind: SourceKind) -> Result<FunctionSource<'_>> {
        let root = if kind == SourceKind::Python { path.parent().unwrap_or(Path::new(".")) } else { path };
        let files = contents(root, kind)?;
        let mut sum = Sha256::new();
        sum.update(env!("CARGO_PKG_VERSION"));
        sum.update([kind as u8]);
        for (name, bytes) in sdk() {
            sum.update(name.as_os_str().as_encoded_bytes());
            sum.update(bytes);
        }
        if kind == SourceKind::Python {
            sum.update(COMPONENTIZE);
            sum.update(path.file_name().map(|n| n.as_encoded_bytes()).unwrap_or_default());
        }
        for (name, bytes) in &files {
            sum.update(name);
            sum.update((bytes.len() as u64).to_le_bytes());
            sum.update(bytes);
        }
        let name = format!("components/{}.wasm", hex::encode(sum.finalize()));
        Ok(FunctionSource { path, files, name })
    }
}

/// The component at a path, if it is one or was built before. No tool is run for this.
///
/// # Errors
/// If there is no function at the path, or it cannot be read.
pub fn built(path: &Path, cache: &Cache) -> Result<Option<Binary>> {
    match SourceKind::of(path)? {
        SourceKind::Wasm => Binary::read(path).map(Some),
        kind => {
            let source = FunctionSource::read(path, kind)?;
            Ok(kept(&source, cache))
        }
    }
}

fn kept(source: &FunctionSource<'_>, cache: &Cache) -> Option<Binary> {
    cache.read(&source.name).map(|bytes| Binary::new(cache.folder().join(&source.name), bytes))
}

/// Builds the function at a path, unless it was built before, and returns the component.
///
/// # Errors
/// If a tool is missing or the build fails. The message contains the tool's output.
pub fn build(path: &Path, cache: &Cache) -> Result<Binary> {
    let kind = SourceKind::of(path)?;
    if kind == SourceKind::Wasm {
        return Binary::read(path);
    }
    let source = FunctionSource::read(path, kind)?;
    if let Some(kept) = kept(&source, cache) {
        return Ok(kept);
    }
    let io = |e: std::io::Error| Error::tool(format!("cannot build into {}", cache.folder().display())).caused_by(e);
    tracing::info!("building the function {}, once", path.display());
    let work = tempfile::tempdir_in(cache.folder()).map_err(io)?;
    let output = work.path().join("function.wasm");
    match kind {
        SourceKind::Rust => rust(path, cache, work.path(), &output)?,
        _ => python(&source, cache, work.path(), &output)?,
    }
    let bytes = std::fs::read(&output).map_err(io)?;
    cache.put(&source.name, |to| std::fs::write(to, &bytes)).map_err(io)?;
    Ok(Binary::new(cache.folder().join(&source.name), bytes))
}

/// The files of a function, by relative name.
fn contents(root: &Path, kind: SourceKind) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut out = BTreeMap::new();
    let skip = |name: &str| name.starts_with('.') || ["target", "__pycache__", "node_modules"].contains(&name);
    let below = walkdir::WalkDir::new(root).sort_by_file_name().into_iter();
    for e in below.filter_entry(|e| e.depth() == 0 || !skip(&e.file_name().to_string_lossy())) {
        let e = e.map_err(|e| Error::script(format!("cannot read {}", root.display())).caused_by(e))?;
        let name = e.path().strip_prefix(root).unwrap_or(e.path()).to_string_lossy().into_owned();
        // A Python function consists of its file and of other files in the same folder: modules and small tables, not large data.
        let size = e.metadata().map(|m| m.len()).unwrap_or(0);
        let wanted = match kind {
            // SQL scripts are excluded, since many of them may use the same file of functions.
            SourceKind::Python => {
                let other = [".wasm", ".sql"].iter().any(|end| name.ends_with(end)) || name.contains("Cargo.");
                e.depth() <= 3 && size <= 16 << 20 && !other
            }
            _ => name != "Cargo.lock",
        };
        if e.file_type().is_file() && wanted {
            let bytes =
                std::fs::read(e.path()).map_err(|e| Error::script(format!("cannot read {name}")).caused_by(e))?;
            out.insert(name, bytes);
        }
    }
    Ok(out)
}

/// The files of the SDKs, in order.
fn sdk() -> Vec<(PathBuf, &'static [u8])> {
    fn walk(d: &'static Dir<'static>, out: &mut Vec<(PathBuf, &'static [u8])>) {
        out.extend(d.files().map(|f| (f.path().to_path_buf(), f.contents())));
        d.dirs().for_each(|d| walk(d, out));
    }
    let mut files = vec![];
    walk(&SDK, &mut files);
    files.retain(|(p, _)| !p.components().any(|c| c.as_os_str() == "target" || c.as_os_str() == "__pycache__"));
    files.sort();
    files
}

/// Writes the SDKs into a folder, and removes everything else from it, including changes by an earlier build. Unchanged files are kept, so
/// that cargo reuses its build results.
fn lay_out_sdk(folder: &Path) -> std::io::Result<()> {
    let files = sdk();
    let known: BTreeSet<&Path> = files.iter().map(|(p, _)| p.as_path()).collect();
    if folder.symlink_metadata().is_ok_and(|m| !m.is_dir()) {
        std::fs::remove_file(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    for e in walkdir::WalkDir::new(folder).contents_first(true).min_depth(1) {
        let e = e.map_err(std::io::Error::other)?;
        let relative = e.path().strip_prefix(folder).unwrap_or(e.path());
        if e.file_type().is_dir() {
            // Folders that are not empty contain files that are kept.
            let _ = std::fs::remove_dir(e.path());
        } else if !e.file_type().is_file() || !known.contains(relative) {
            std::fs::remove_file(e.path())?;
        }
    }
    for (path, bytes) in files {
        let to = folder.join(path);
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        std::fs::create_dir_all(to.parent().unwrap_or(folder))?;
        std::fs::write(to, bytes)?;
    }
    Ok(())
}

/// Runs a tool during a build.
fn run(command: &mut Command, missing: &str) -> Result<Ended> {
    let name = command.get_program().to_string_lossy().into_owned();
    child::run(command, BOUNDS).map_err(|failed| match failed {
        Failed::Start(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Error::tool(format!("{name} is needed to build this function, and is not there")).hint(missing)
        }
        Failed::Start(e) => Error::tool(format!("{name} does not start")).caused_by(e),
        Failed::Exceeded(why) => Error::tool(format!("the build was ended: {name} {why}"))
            .hint("build it elsewhere, and use the component: LANGUAGE WASM USING FILE '….wasm'"),
    })
}

/// The Rust target of functions.
const TARGET: &str = "wasm32-wasip2";

const INSTALL_RUST: &str = "install Rust from https://rustup.rs, then: rustup target add wasm32-wasip2";

/// The cargo and rustc that a crate's folder selects. They are determined once, so that cargo can run in another folder. There it does not
/// read configuration that came with the crate, but can still reach its registry.
fn rust_tools(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let asked = run(child::command("rustc", path).args(["--print", "sysroot"]), INSTALL_RUST)?;
    if !asked.status.success() {
        let words = String::from_utf8_lossy(&asked.stderr).into_owned();
        return Err(Error::tool(format!("rustc cannot be used: {}", last_lines(&words, 10))).hint(INSTALL_RUST));
    }
    let root = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    // This is reported at once, and not after the compilation of dependencies.
    let targets = root.join("lib/rustlib");
    if targets.is_dir() && !targets.join(TARGET).is_dir() {
        let e = Error::tool(format!("Rust's target {TARGET} is needed to build this function, and is not installed"));
        return Err(e.hint(format!("rustup target add {TARGET}")));
    }
    let tool = |name: &str| Some(root.join("bin").join(name)).filter(|t| t.is_file()).unwrap_or_else(|| name.into());
    Ok((tool("cargo"), tool("rustc")))
}

fn rust(path: &Path, cache: &Cache, work: &Path, output: &Path) -> Result<()> {
    let io = |e: std::io::Error| Error::tool("cannot prepare the build").caused_by(e);
    // Build results are reused for the same crate only.
    let own = hex::encode(Sha256::digest(path.as_os_str().as_encoded_bytes()));
    let own = cache.place(&format!("cargo/{}", &own[..16])).map_err(io)?;
    let sdk = own.join("sdk");
    lay_out_sdk(&sdk).map_err(io)?;
    let patch = format!("patch.crates-io.weir-udf.path={:?}", sdk.join("rust").display().to_string());
    let (cargo, rustc) = rust_tools(path)?;
    let command = |verb: &str| {
        let mut command = child::command(&cargo, work);
        command.arg(verb).arg("--config").arg(&patch).arg("--manifest-path").arg(path.join("Cargo.toml"));
        command.env("RUSTC", &rustc);
        command
    };
    let failed = |ended: &Ended| {
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        let e =
            Error::tool(format!("the function in {} does not compile:\n{}", path.display(), last_lines(&words, 60)));
        match words.contains("wasm32-wasip2")
            && (words.contains("rustup target add") || words.contains("not be installed"))
        {
            true => e.hint("rustup target add wasm32-wasip2"),
            false => e,
        }
    };
    // Crates are fetched first, which runs none of them. What runs afterwards needs no network.
    let mut fetch = command("fetch");
    child::fetches(&mut fetch, "CARGO_");
    let fetched = run(&mut fetch, INSTALL_RUST)?;
    if !fetched.status.success() {
        return Err(failed(&fetched));
    }
    let mut build = command("build");
    build.args(["--release", "--offline", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    build.arg("--target-dir").arg(own.join("target"));
    let built = run(&mut build, INSTALL_RUST)?;
    if !built.status.success() {
        return Err(failed(&built));
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
    std::fs::copy(&artifact, output)
        .map_err(|e| Error::tool(format!("cannot copy {}", artifact.display())).caused_by(e))?;
    Ok(())
}

fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(n)..].join("\n")
}

const INSTALL_PYTHON: &str = "apt-get install python3 python3-pip (or python3-venv)";

/// Runs Python in isolated mode: without modules of the current folder, of the user, or of the environment's paths.
fn python3(program: &OsStr, folder: &Path) -> Command {
    let mut command = child::command(program, folder);
    command.arg("-I");
    command
}

/// The checksum of all files below a folder, under the cache's key.
fn sum_of_tree(cache: &Cache, name: &str, folder: &Path) -> std::io::Result<[u8; 32]> {
    let mut all = Sha256::new();
    for e in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let e = e.map_err(std::io::Error::other)?;
        if e.file_type().is_file() {
            all.update(e.path().strip_prefix(folder).unwrap_or(e.path()).as_os_str().as_encoded_bytes());
            all.update(Sha256::digest(std::fs::read(e.path())?));
        }
    }
    cache.sum(name, &all.finalize()[..])
}

/// Python's tool chain in the cache. It is installed once, and again if its files have changed.
fn tool_chain(cache: &Cache, work: &Path) -> Result<PathBuf> {
    let pinned = COMPONENTIZE.split_whitespace().next().unwrap_or_default();
    let name = format!("python/{}", &hex::encode(Sha256::digest(COMPONENTIZE))[..16]);
    let folder = cache.folder().join(&name);
    let (libraries, told) = (folder.join("lib"), folder.join("sum"));
    let io = |e: std::io::Error| Error::tool(format!("cannot install into {}", folder.display())).caused_by(e);
    if let Ok(told) = std::fs::read(&told)
        && sum_of_tree(cache, &name, &libraries).is_ok_and(|sum| sum[..] == told[..])
    {
        return Ok(libraries);
    }
    tracing::info!("installing {pinned} into {}, once", folder.display());
    cache.place("python").map_err(io)?;
    let draft = tempfile::tempdir_in(cache.folder().join("python")).map_err(io)?;
    let requirements = work.join("requirements.txt");
    std::fs::write(&requirements, COMPONENTIZE).map_err(io)?;
    let install = |program: &OsStr| {
        let mut pip = python3(program, work);
        child::fetches(&mut pip, "PIP_");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]);
        pip.args(["--no-compile", "--require-hashes", "--target"])
            .arg(draft.path().join("lib"))
            .arg("-r")
            .arg(&requirements);
        run(&mut pip, INSTALL_PYTHON)
    };
    let direct = install(OsStr::new("python3"))?;
    if !direct.status.success() {
        // Without pip, a virtual environment provides one.
        let venv = work.join("pip");
        let made = run(python3(OsStr::new("python3"), work).args(["-m", "venv"]).arg(&venv), INSTALL_PYTHON)?;
        let filled = if made.status.success() { install(venv.join("bin/python").as_os_str())? } else { made };
        if !filled.status.success() {
            let words = String::from_utf8_lossy(&direct.stderr).into_owned() + &String::from_utf8_lossy(&filled.stderr);
            return Err(Error::tool(format!("Python's tool chain cannot be installed:\n{}", last_lines(&words, 15)))
                .hint(INSTALL_PYTHON));
        }
    }
    let sum = sum_of_tree(cache, &name, &draft.path().join("lib")).map_err(io)?;
    std::fs::write(draft.path().join("sum"), sum).map_err(io)?;
    let _ = std::fs::remove_dir_all(&folder);
    let draft = draft.keep();
    match std::fs::rename(&draft, &folder) {
        // Another process has installed it in the meantime.
        Err(_) if libraries.is_dir() => std::fs::remove_dir_all(&draft).map_err(io)?,
        renamed => renamed.map_err(io)?,
    }
    Ok(libraries)
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for e in walkdir::WalkDir::new(from) {
        let e = e.map_err(std::io::Error::other)?;
        let to = to.join(e.path().strip_prefix(from).unwrap_or(e.path()));
        if e.file_type().is_dir() {
            std::fs::create_dir_all(to)?;
        } else {
            std::fs::copy(e.path(), to)?;
        }
    }
    Ok(())
}

fn python(source: &FunctionSource<'_>, cache: &Cache, work: &Path, output: &Path) -> Result<()> {
    let path = source.path;
    let module = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let valid =
        module.chars().all(|c| c.is_alphanumeric() || c == '_') && !module.starts_with(|c: char| c.is_ascii_digit());
    if !valid {
        return Err(Error::script(format!("{} is no name of a Python module", path.display()))
            .hint("name the file by letters, digits and underscores"));
    }
    // A syntax error is found here in a fraction of a second, otherwise only after half a minute.
    let parse = "import ast,sys; ast.parse(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1])";
    let parsed = run(python3(OsStr::new("python3"), work).args(["-c", parse]).arg(path), INSTALL_PYTHON)?;
    if !parsed.status.success() {
        let words = String::from_utf8_lossy(&parsed.stderr);
        let from = words.rfind("  File ").unwrap_or(0);
        return Err(Error::script(format!("{} is no Python:\n{}", path.display(), words[from..].trim_end())));
    }
    let libraries = tool_chain(cache, work)?;
    let (user, sdk, zones) = (work.join("user"), work.join("sdk"), work.join("zones"));
    let empty = work.join("venv/lib/site-packages");
    let io = |e: std::io::Error| Error::tool("cannot prepare the build").caused_by(e);
    std::fs::create_dir_all(&empty).map_err(io)?;
    lay_out_sdk(&sdk).map_err(io)?;
    // A link does not work, since the build's sandbox follows none that leads out of a folder.
    copy_tree(&libraries.join("tzdata"), &zones.join("tzdata")).map_err(io)?;
    for (name, bytes) in &source.files {
        let to = user.join(name);
        std::fs::create_dir_all(to.parent().unwrap_or(&user)).map_err(io)?;
        std::fs::write(to, bytes).map_err(io)?;
    }
    let note = format!("MODULE = {module:?}\nREPORT = \"/0/weir_report.json\"\n");
    std::fs::write(user.join("weir_build.py"), note).map_err(io)?;
    let program =
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from componentize_py import script; sys.exit(script())";
    let mut build = python3(OsStr::new("python3"), work);
    build
        .args(["-B", "-c", program])
        .arg(&libraries)
        .args(["-q", "-d"])
        .arg(sdk.join("wit"))
        .args(["-w", "udf", "componentize", "weir_app", "-p"])
        .arg(&user)
        .arg("-p")
        .arg(sdk.join("python"))
        .arg("-p")
        .arg(&zones)
        .arg("-o")
        .arg(output)
        .env("VIRTUAL_ENV", work.join("venv"));
    let built = run(&mut build, INSTALL_PYTHON)?;
    if built.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&built.stderr);
    let ours =
        words.split("--- weir: the file cannot be used ---").nth(1).and_then(|w| w.split("--- weir: end ---").next());
    let why = ours.map_or_else(|| last_lines(&words, 25), |w| w.trim().to_string());
    Err(Error::script(format!("{} cannot be used:\n{why}", path.display())))
}

/// The files of a new function, with names and contents.
pub fn template(name: &str, kind: SourceKind) -> Vec<(String, String)> {
    match kind {
        SourceKind::Python => vec![(
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
