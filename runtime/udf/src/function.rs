//! Functions ready to be called: instances pooled, results remembered, rows that fail told apart.

use crate::convert::{crossing, declared, from_guest, to_guest};
use crate::sandbox::bindings::weir::udf::types::{self, DataType as Wit};
use crate::sandbox::{Component, Grant, Instance, Rights};
use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_core::key::Keys;
use weir_core::metrics::{FunctionMetrics, Metrics};
use weir_core::{ColumnBuilder, Error, Result, SqlType, Value, options};
use weir_expr::{EvalContext, Function, OnError, cast};

/// Rows that may bring a guest down within one batch, before the job is.
const POISON: usize = 16;
/// Rows handed over at once.
const CHUNK: usize = 8192;

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
                "assets" => {
                    let mut all = BTreeMap::new();
                    for p in v.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                        read_assets(&base.join(p), &mut all)?;
                    }
                    l.assets = Arc::new(all);
                }
                other => {
                    let e = Error::script(format!("a function has no option '{other}'"));
                    return Err(match weir_core::error::nearest(other, known) {
                        Some(n) => e.hint(format!("did you mean '{n}'?")),
                        None => e.hint(format!("it has: {}", known.join(", "))),
                    });
                }
            }
        }
        Ok(l)
    }
}

fn read_assets(path: &Path, into: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let fail = |e: std::io::Error| Error::script(format!("cannot read the asset {}: {e}", path.display()));
    if !path.exists() {
        return Err(fail(std::io::ErrorKind::NotFound.into()));
    }
    for e in walkdir::WalkDir::new(path).sort_by_file_name() {
        let e = e.map_err(|e| Error::script(format!("cannot read the asset {}: {e}", path.display())))?;
        if !e.file_type().is_file() {
            continue;
        }
        let bytes = std::fs::read(e.path()).map_err(fail)?;
        let relative = match e.path().strip_prefix(path) {
            Ok(r) if r != Path::new("") => r.to_path_buf(),
            _ => e.path().file_name().map(Into::into).unwrap_or_default(),
        };
        let name = relative.to_string_lossy().into_owned();
        match name.strip_suffix(".gz") {
            Some(plain) => {
                let mut unpacked = vec![];
                std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut unpacked)
                    .map_err(fail)?;
                into.insert(plain.to_string(), unpacked);
            }
            None => {
                into.insert(name, bytes);
            }
        }
    }
    Ok(())
}

/// What a function says of itself.
#[derive(Clone)]
struct Signature {
    name: String,
    /// Names and types of its arguments, a type being none where any will do; none where any number of arguments will do.
    args: Option<Vec<(String, Option<SqlType>)>>,
    dtype: Wit,
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
    inner: Arc<Inner>,
    signatures: Arc<Vec<Signature>>,
    version: String,
}

struct Inner {
    component: Component,
    rights: Rights,
    idle: Mutex<Vec<Worker>>,
    metrics: FunctionMetrics,
}

struct Worker {
    instance: Instance,
    memory: Remembered,
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
    loaded: Loaded,
    index: u32,
    signature: Signature,
    on_error: OnError,
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
struct Bound {
    function: UserFunction,
    /// How each argument crosses: as what, and of which SQL type.
    crossings: Vec<(Wit, SqlType)>,
}

/// Results by argument, as long as that pays.
#[derive(Default)]
struct Remembered {
    results: HashMap<Box<[u8]>, Value<'static>, ahash::RandomState>,
    bytes: usize,
    asked: u64,
    hit: u64,
    nanos_a_row: f64,
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
        let mut parts: Vec<ArrayRef> = vec![];
        let mut failed = vec![];
        let mut poison = 0;
        for from in (0..rows).step_by(CHUNK) {
            let count = CHUNK.min(rows - from);
            self.range(worker, args, from, count, ty, context, rows_of, &mut parts, &mut failed, &mut poison)?;
        }
        if parts.len() == 1 {
            return Ok((parts.remove(0), failed));
        }
        let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
        Ok((arrow::compute::concat(&parts)?, failed))
    }

    #[expect(clippy::too_many_arguments, reason = "one recursion's state, handed down unchanged")]
    fn range(
        &self,
        worker: &mut Worker,
        args: &[ArrayRef],
        from: usize,
        count: usize,
        ty: &SqlType,
        context: &mut EvalContext,
        rows_of: &dyn Fn(usize) -> Vec<usize>,
        parts: &mut Vec<ArrayRef>,
        failed: &mut Vec<usize>,
        poison: &mut usize,
    ) -> Result<()> {
        let inner = &self.function.loaded.inner;
        let policy = self.function.on_error;
        let columns: Vec<_> =
            args.iter().zip(&self.crossings).map(|(a, (w, ty))| to_guest(&a.slice(from, count), *w, ty)).collect();
        let started = Instant::now();
        let answer = worker.instance.eval(self.function.index, count as u32, &columns);
        let spent = started.elapsed();
        inner.metrics.calls.inc();
        inner.metrics.rows.inc_by(count as u64);
        inner.metrics.time.observe(spent.as_secs_f64());
        let memory = worker.instance.memory() as i64;
        if memory > inner.metrics.memory.get() {
            inner.metrics.memory.set(memory);
        }
        let nanos = spent.as_nanos() as f64 / count as f64;
        let m = &mut worker.memory;
        m.nanos_a_row = if m.nanos_a_row == 0.0 { nanos } else { m.nanos_a_row * 0.8 + nanos * 0.2 };
        let trapped = match answer {
            Ok(Ok(output)) => {
                let refusals = worker.instance.refusals();
                let errors = output.errors;
                let checked = match errors.iter().find(|e| e.row as usize >= count) {
                    Some(e) => Err(format!("it reports a failure of row {} of {count}", e.row)),
                    None => from_guest(output.values, count, &self.function.signature.dtype, ty),
                };
                match checked {
                    Ok(array) => {
                        let mut bad = vec![false; if errors.is_empty() { 0 } else { count }];
                        for e in errors {
                            inner.metrics.errors.inc();
                            bad[e.row as usize] = true;
                            failed.push(from + e.row as usize);
                            let text = format!("{}: {}{refusals}", self.name(), e.message);
                            for row in rows_of(from + e.row as usize) {
                                context
                                    .fail_by(policy, row, text.clone())
                                    .map_err(|x| self.with_arguments(x, args, from + e.row as usize))?;
                            }
                        }
                        let array = if bad.is_empty() {
                            array
                        } else {
                            let mask: BooleanArray = bad.into_iter().map(Some).collect();
                            arrow::compute::nullif(&array, &mask)?
                        };
                        parts.push(array);
                        return Ok(());
                    }
                    Err(why) => Error::function(format!("{}: it broke the contract: {why}", self.name())),
                }
            }
            Ok(Err(why)) => {
                let refusals = worker.instance.refusals();
                Error::function(format!("{}: {why}{refusals}", self.name()))
            }
            Err(trap) => {
                // The guest is spent; a new one takes its place.
                worker.instance = inner.component.instantiate(&inner.rights)?;
                trap
            }
        };
        if count > 1 {
            let half = count / 2;
            self.range(worker, args, from, half, ty, context, rows_of, parts, failed, poison)?;
            return self.range(worker, args, from + half, count - half, ty, context, rows_of, parts, failed, poison);
        }
        inner.metrics.traps.inc();
        failed.push(from);
        *poison += 1;
        if *poison > POISON {
            return Err(trapped.context(format!("more than {POISON} rows of a batch failed")));
        }
        if policy == OnError::Fail {
            context.fatal = rows_of(from).first().map(|r| context.row(*r));
            return Err(self.with_arguments(trapped, args, from));
        }
        for row in rows_of(from) {
            context.fail_by(policy, row, trapped.message.clone())?;
        }
        parts.push(new_null_array(&ty.arrow(), 1));
        Ok(())
    }

    /// Adds to an error the arguments that led to it.
    fn with_arguments(&self, e: Error, args: &[ArrayRef], row: usize) -> Error {
        let shown: Vec<String> = args
            .iter()
            .zip(&self.crossings)
            .map(|(a, (_, ty))| {
                let text = weir_expr::text::cast_text(
                    &Value::read(a, row.min(a.len().saturating_sub(1))),
                    ty,
                    &weir_expr::time::Zone::UTC,
                );
                text.chars().take(60).collect()
            })
            .collect();
        let mut e = e;
        e.message = format!("{}, called with ({})", e.message, shown.join(", "));
        e.hint(
            "set 'on-error' = 'skip', 'null' or 'dead-letter' in CREATE FUNCTION … WITH (…) to go on without such rows",
        )
    }
}
