//! Functions ready to be called: instances pooled, results remembered, rows that fail told apart.

use crate::bindings::weir::udf::types::{self, DataType as Wit};
use crate::calls::Calls;
use crate::convert::{crossing, declared};
use crate::host::{Grant, Rights};
use crate::log::Log;
use crate::sandbox::{Component, Instance};
use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_core::key::Keys;
use weir_core::metrics::{FunctionMetrics, Metrics};
use weir_core::{ColumnBuilder, Error, Result, SqlType, Value, options};
use weir_expr::{EvalContext, Function, OnError, cast};

/// What a function is given.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of memory an instance may have.
    pub memory: usize,
    /// Processor time a call may take.
    pub timeout: Duration,
    /// Addresses it may connect to.
    pub network: Vec<Grant>,
    /// Files it may read, by name.
    pub assets: Arc<BTreeMap<String, Vec<u8>>>,
    /// Whether equal arguments give equal results; as the function says, if not said.
    pub deterministic: Option<bool>,
    /// How many subtasks the operators that call it have; the job's number, if not said.
    pub parallelism: Option<usize>,
}

impl Limits {
    /// Reads the options of CREATE FUNCTION. `base` is the folder that asset paths start from.
    ///
    /// # Errors
    /// When an option is unknown or wrong, or an asset cannot be read.
    pub fn from_options(given: &BTreeMap<String, String>, base: &Path) -> Result<Limits> {
        let mut l = Limits {
            memory: 256 << 20,
            timeout: Duration::from_secs(10),
            network: vec![],
            assets: Arc::default(),
            deterministic: None,
            parallelism: None,
        };
        let known =
            ["memory", "timeout", "network", "assets", "deterministic", "parallelism", "on-error", "dead-letter.table"];
        for (k, v) in given {
            match k.as_str() {
                "memory" => l.memory = options::bytes(k, v)? as usize,
                "timeout" => l.timeout = options::duration(k, v)?,
                "network" => l.network = Grant::parse_all(v)?,
                "deterministic" => l.deterministic = Some(options::boolean(k, v)?),
                "parallelism" => l.parallelism = Some(options::number(k, v)?),
                "assets" => {}
                other => {
                    let e = Error::script(format!("a function has no option '{other}'"));
                    return Err(match weir_core::error::nearest(other, known) {
                        Some(n) => e.hint(format!("did you mean '{n}'?")),
                        None => e.hint(format!("it has: {}", known.join(", "))),
                    });
                }
            }
        }
        if let Some(paths) = given.get("assets") {
            let mut assets = Assets { files: BTreeMap::new(), left: l.memory, memory: l.memory };
            for p in paths.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                assets.read(&base.join(p))?;
            }
            l.assets = Arc::new(assets.files);
        }
        Ok(l)
    }
}

/// The files that a function may read, unpacked: all together no more than the memory that it could read them into.
struct Assets {
    files: BTreeMap<String, Vec<u8>>,
    left: usize,
    memory: usize,
}

impl Assets {
    fn read(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Err(unreadable(path, &std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        for e in walkdir::WalkDir::new(path).sort_by_file_name() {
            let e = e.map_err(|e| unreadable(path, &e))?;
            if !e.file_type().is_file() {
                continue;
            }
            let relative = match e.path().strip_prefix(path) {
                Ok(r) if r != Path::new("") => r.to_path_buf(),
                _ => e.path().file_name().map(Into::into).unwrap_or_default(),
            };
            let name = relative.to_string_lossy().into_owned();
            let file = std::fs::File::open(e.path()).map_err(|x| unreadable(e.path(), &x))?;
            let (name, bytes) = match name.strip_suffix(".gz") {
                Some(plain) => (plain.to_string(), self.take(flate2::read::MultiGzDecoder::new(file), e.path())?),
                None => {
                    let bytes = self.take(file, e.path())?;
                    (name, bytes)
                }
            };
            self.files.insert(name, bytes);
        }
        Ok(())
    }

    fn take(&mut self, from: impl Read, path: &Path) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        let most = self.left as u64;
        from.take(most + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| {
            let mb = self.memory >> 20;
            Error::script(format!("with {} the assets take more than the function's memory of {mb} MB", path.display()))
                .hint("more is granted by 'memory' = '1gb' in CREATE FUNCTION … WITH (…)")
        })?;
        bytes.shrink_to_fit();
        Ok(bytes)
    }
}

fn unreadable(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::script(format!("cannot read the asset {}: {e}", path.display()))
}

/// What a function says of itself.
#[derive(Clone)]
pub(crate) struct Signature {
    name: String,
    /// Names and types of its arguments, a type being none where any will do; none where any number of arguments will do.
    args: Option<Vec<(String, Option<SqlType>)>>,
    pub dtype: Wit,
    result: Option<SqlType>,
    deterministic: bool,
}

impl Signature {
    fn read(s: types::Signature) -> std::result::Result<Signature, String> {
        let (name, result) = declared(&s.name, &s.dtype)?;
        let args = s.args.map(|all| all.iter().map(|f| declared(&f.name, &f.dtype)).collect()).transpose()?;
        Ok(Signature { name, args, dtype: s.dtype, result, deterministic: s.deterministic })
    }
}

/// A loaded component with its functions.
#[derive(Clone)]
pub struct Loaded {
    pub(crate) inner: Arc<Inner>,
    signatures: Arc<Vec<Signature>>,
    version: String,
}

pub(crate) struct Inner {
    pub component: Component,
    pub rights: Rights,
    idle: Mutex<Vec<Worker>>,
    pub metrics: FunctionMetrics,
}

/// An instance, and what is known of it.
pub(crate) struct Worker {
    pub instance: Instance,
    pub memory: Remembered,
}

impl Inner {
    fn take(&self) -> Result<Worker> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(w) => Ok(w),
            None => Ok(Worker { instance: self.component.instantiate(&self.rights)?, memory: Remembered::default() }),
        }
    }
    fn give(&self, w: Worker) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(w);
    }
}

impl Loaded {
    /// Opens a component under the name that SQL calls it by.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn new(component: &Component, name: &str, limits: &Limits, metrics: &Metrics) -> Result<Loaded> {
        let began = Instant::now();
        let rights = Rights {
            name: name.to_string(),
            memory: limits.memory,
            timeout: limits.timeout,
            network: limits.network.clone(),
            assets: limits.assets.clone(),
            log: Log::new(name),
        };
        let mut instance = component.instantiate(&rights)?;
        let signatures = instance.describe()?.into_iter().map(Signature::read).collect::<std::result::Result<_, _>>();
        let signatures: Vec<Signature> =
            signatures.map_err(|why| Error::function(format!("{name}: it broke the contract: {why}")))?;
        let inner =
            Inner { component: component.clone(), rights, idle: Mutex::new(vec![]), metrics: metrics.function(name) };
        inner.metrics.load.set(began.elapsed().as_secs_f64());
        inner.give(Worker { instance, memory: Remembered::default() });
        let version = component.version().to_string();
        Ok(Loaded { inner: Arc::new(inner), signatures: Arc::new(signatures), version })
    }

    /// The functions' signatures, a line each.
    pub fn describe(&self) -> Vec<String> {
        self.signatures.iter().map(show).collect()
    }

    /// One of its functions: the one named, or the only one. Of the limits, what is the function's rather than its sandbox's.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn function(
        &self,
        identifier: &str,
        on_error: OnError,
        letters: Option<String>,
        limits: &Limits,
    ) -> Result<UserFunction> {
        let wanted = identifier.rsplit(['.', ':']).next().unwrap_or(identifier);
        let at = self.signatures.iter().position(|s| s.name == wanted).or(match self.signatures.len() {
            1 if wanted.is_empty() => Some(0),
            _ => None,
        });
        let Some(index) = at else {
            let known: Vec<&str> = self.signatures.iter().map(|s| s.name.as_str()).collect();
            let e = Error::script(format!("the component has no function '{wanted}'"));
            return Err(match weir_core::error::nearest(wanted, known.iter().copied()) {
                Some(n) => e.hint(format!("did you mean '{n}'?")),
                None => e.hint(format!("it has: {}", known.join(", "))),
            });
        };
        let signature = self.signatures[index].clone();
        let deterministic = limits.deterministic.unwrap_or(signature.deterministic);
        let (loaded, index, parallelism) = (self.clone(), index as u32, limits.parallelism);
        Ok(UserFunction { loaded, index, signature, on_error, letters, deterministic, parallelism })
    }
}

fn type_name(ty: &Option<SqlType>) -> String {
    ty.as_ref().map_or("ANY".to_string(), |t| t.kind.to_string())
}

fn show(s: &Signature) -> String {
    let args = match &s.args {
        Some(a) => a.iter().map(|(name, ty)| format!("{name} {}", type_name(ty))).collect::<Vec<_>>().join(", "),
        None => "…".to_string(),
    };
    let d = if s.deterministic { "" } else { ", not deterministic" };
    format!("{}({args}) -> {}{d}", s.name, type_name(&s.result))
}

/// A function, and what becomes of rows that it fails on.
#[derive(Clone)]
pub struct UserFunction {
    pub(crate) loaded: Loaded,
    pub(crate) index: u32,
    pub(crate) signature: Signature,
    pub(crate) on_error: OnError,
    letters: Option<String>,
    deterministic: bool,
    parallelism: Option<usize>,
}

impl UserFunction {
    /// Its signature in words.
    pub fn signature(&self) -> String {
        show(&self.signature)
    }

    /// What arguments of these types are cast to, the result's type, and the function bound to them.
    ///
    /// # Errors
    /// When it does not take these arguments.
    pub fn bind(&self, args: &[SqlType]) -> Result<(Vec<SqlType>, SqlType, Arc<dyn Function>)> {
        let name = &self.loaded.inner.rights.name;
        let types = args.iter().map(|t| t.kind.to_string()).collect::<Vec<_>>().join(", ");
        let wrong = |why: String| {
            Error::script(format!("{name}({types}) cannot be called like this: {why}"))
                .hint(format!("it is {}", self.signature()))
        };
        let mut casts = vec![];
        let mut crossings = vec![];
        if let Some(fields) = &self.signature.args
            && fields.len() != args.len()
        {
            return Err(wrong(format!("it takes {} arguments, not {}", fields.len(), args.len())));
        }
        for (i, ty) in args.iter().enumerate() {
            let declared = self.signature.args.as_ref().and_then(|a| a.get(i)).and_then(|(_, ty)| ty.clone());
            let target = match declared {
                Some(to) => {
                    let narrow = ty.is_numeric() && to.is_numeric() && !ty.is_approximate();
                    if !cast::implicit(ty, &to) && !narrow {
                        return Err(wrong(format!("argument {} is {}, not {}", i + 1, ty.kind, to.kind)));
                    }
                    to.nullable(ty.nullable)
                }
                None => ty.clone(),
            };
            let (wit, cast) =
                crossing(&target).ok_or_else(|| wrong(format!("functions do not take {} as yet", target.kind)))?;
            crossings.push((wit, cast.clone()));
            casts.push(cast);
        }
        let ty = self.signature.result.clone().ok_or_else(|| wrong("it does not say what it gives".to_string()))?;
        let bound = Bound { function: self.clone(), crossings };
        Ok((casts, ty, Arc::new(bound)))
    }
}

/// A function bound to the types of its arguments.
pub(crate) struct Bound {
    pub function: UserFunction,
    /// How each argument crosses: as what, and of which SQL type.
    pub crossings: Vec<(Wit, SqlType)>,
}

/// Results by argument, as long as that pays.
#[derive(Default)]
pub(crate) struct Remembered {
    results: HashMap<Box<[u8]>, Value<'static>, ahash::RandomState>,
    bytes: usize,
    asked: u64,
    hit: u64,
    /// What a row costs on average; 0 while nobody knows.
    pub nanos_a_row: f64,
    /// Batches that go by without asking, after it did not pay.
    pause: u32,
}

const REMEMBERED_BYTES: usize = 8 << 20;
/// What a look-up costs, about.
const LOOK_UP_NANOS: f64 = 90.0;

impl Remembered {
    /// Whether the next batch should ask.
    fn pays(&mut self) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        if self.asked >= 65_536 {
            let rate = self.hit as f64 / self.asked as f64;
            (self.asked, self.hit) = (0, 0);
            if self.nanos_a_row > 0.0 && rate * self.nanos_a_row < LOOK_UP_NANOS {
                self.pause = 512;
                self.results = HashMap::default();
                self.bytes = 0;
                return false;
            }
        }
        true
    }
    fn keep(&mut self, key: &[u8], value: Value<'static>) {
        let size = key.len() + value.as_bytes().map_or(0, <[u8]>::len) + 96;
        if self.bytes + size > REMEMBERED_BYTES {
            self.results.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        self.results.insert(key.into(), value);
    }
}

impl Function for Bound {
    fn name(&self) -> &str {
        &self.function.loaded.inner.rights.name
    }
    fn deterministic(&self) -> bool {
        self.function.deterministic
    }
    fn is_user_defined(&self) -> bool {
        true
    }
    fn dead_letters(&self) -> Option<String> {
        self.function.letters.clone()
    }
    fn parallelism(&self) -> Option<usize> {
        self.function.parallelism
    }
    fn version(&self) -> Option<String> {
        Some(self.function.loaded.version.clone())
    }

    fn eval(&self, args: &[ArrayRef], rows: usize, ty: &SqlType, context: &mut EvalContext) -> Result<ArrayRef> {
        if rows == 0 {
            return Ok(new_null_array(&ty.arrow(), 0));
        }
        let inner = &self.function.loaded.inner;
        let mut worker = inner.take()?;
        let result = if self.function.deterministic && worker.memory.pays() {
            self.remembering(&mut worker, args, rows, ty, context)
        } else {
            self.call(&mut worker, args, rows, ty, context, &|r| vec![r]).map(|(array, _)| array)
        };
        inner.give(worker);
        result
    }
}

impl Bound {
    /// Evaluates each distinct argument once, unless it is remembered.
    fn remembering(
        &self,
        worker: &mut Worker,
        args: &[ArrayRef],
        rows: usize,
        ty: &SqlType,
        context: &mut EvalContext,
    ) -> Result<ArrayRef> {
        let keys = Keys::encode(args, rows);
        let mut places: HashMap<&[u8], u32, ahash::RandomState> =
            HashMap::with_capacity_and_hasher(rows / 4, Default::default());
        // For each row, which distinct argument it has; for each distinct argument, its first row.
        let mut of_row: Vec<u32> = Vec::with_capacity(rows);
        let mut first: Vec<u32> = vec![];
        for row in 0..rows {
            let k = keys.get(row);
            of_row.push(*places.entry(k).or_insert_with(|| {
                first.push(row as u32);
                first.len() as u32 - 1
            }));
        }
        let missing: Vec<u32> = (0..first.len() as u32)
            .filter(|d| !worker.memory.results.contains_key(keys.get(first[*d as usize] as usize)))
            .collect();
        worker.memory.asked += rows as u64;
        worker.memory.hit += (rows - missing.len()) as u64;
        self.function.loaded.inner.metrics.remembered.inc_by((rows - missing.len()) as u64);
        let mut builder = ColumnBuilder::new(&ty.arrow());
        let mut slot: Vec<u32> = vec![u32::MAX; first.len()];
        let mut next = 0u32;
        for (d, row) in first.iter().enumerate() {
            if let Some(v) = worker.memory.results.get(keys.get(*row as usize)) {
                builder.push(v);
                slot[d] = next;
                next += 1;
            }
        }
        let mut parts = vec![builder.finish()];
        if !missing.is_empty() {
            let chosen = UInt32Array::from(missing.iter().map(|d| first[*d as usize]).collect::<Vec<_>>());
            let narrow: Vec<ArrayRef> =
                args.iter().map(|a| arrow::compute::take(a, &chosen, None)).collect::<std::result::Result<_, _>>()?;
            // A failure belongs to all rows that have the argument.
            let rows_of = |m: usize| {
                let d = missing[m];
                of_row.iter().enumerate().filter(|(_, o)| **o == d).map(|(r, _)| r).collect::<Vec<usize>>()
            };
            let (computed, failed) = self.call(worker, &narrow, missing.len(), ty, context, &rows_of)?;
            let mut bad = vec![false; missing.len()];
            failed.into_iter().for_each(|f| bad[f] = true);
            for (m, d) in missing.iter().enumerate() {
                slot[*d as usize] = next + m as u32;
                if !bad[m] {
                    let key = keys.get(first[*d as usize] as usize);
                    worker.memory.keep(key, Value::read(&computed, m).into_owned());
                }
            }
            parts.push(computed);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
        let all = arrow::compute::concat(&parts)?;
        let indices = UInt32Array::from(of_row.iter().map(|d| slot[*d as usize]).collect::<Vec<_>>());
        Ok(arrow::compute::take(&all, &indices, None)?)
    }

    /// Calls the guest for all rows; `rows_of` says which rows of the batch one of these stands for. Gives the rows that
    /// failed as well.
    fn call(
        &self,
        worker: &mut Worker,
        args: &[ArrayRef],
        rows: usize,
        ty: &SqlType,
        context: &mut EvalContext,
        rows_of: &dyn Fn(usize) -> Vec<usize>,
    ) -> Result<(ArrayRef, Vec<usize>)> {
        Calls::new(self, worker, args, ty, context, rows_of).all(rows)
    }
}
