//! Functions that are ready to be called: those of a component, bound to the types of arguments.

use crate::bindings::weir::udf::types::{self, DataType as Wit};
use crate::calls::{Callee, Calls};
use crate::convert::{crossing, declared};
use crate::host::Rights;
use crate::instances::{Instances, PooledInstance};
use crate::limits::Limits;
use crate::log::Log;
use crate::sandbox::Component;
use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Instant;
use weir_core::key::Keys;
use weir_core::metrics::Metrics;
use weir_core::{ColumnBuilder, Error, Result, SqlType, Value};
use weir_expr::{EvalContext, Function, OnError, cast};

/// The signature of a function.
#[derive(Clone)]
struct Signature {
    name: String,
    /// The names and types of the arguments. A type is none if any type is accepted; the list is none if any number of arguments is.
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
    instances: Arc<Instances>,
    signatures: Arc<Vec<Signature>>,
    version: String,
}

impl Loaded {
    /// Opens a component for the function with this name in SQL.
    ///
    /// # Errors
    /// If it cannot be opened.
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
        let instances = Instances::new(component.clone(), rights, metrics.function(name));
        instances.metrics.load.set(began.elapsed().as_secs_f64());
        instances.give(PooledInstance::new(instance));
        let version = component.version().to_string();
        Ok(Loaded { instances: Arc::new(instances), signatures: Arc::new(signatures), version })
    }

    /// The signatures of the functions, one per line.
    pub fn describe(&self) -> Vec<String> {
        self.signatures.iter().map(show).collect()
    }

    /// The function with this name, or the only one. Of the `limits`, only those are used that concern the function and not its sandbox.
    ///
    /// # Errors
    /// If there is no function with this name.
    pub fn function(
        &self,
        identifier: &str,
        on_error: OnError,
        dead_letters: Option<String>,
        limits: &Limits,
    ) -> Result<WasmFunction> {
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
        Ok(WasmFunction { loaded, index, signature, on_error, dead_letters, deterministic, parallelism })
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

/// A function with the handling of rows on which it fails.
#[derive(Clone)]
pub struct WasmFunction {
    loaded: Loaded,
    index: u32,
    signature: Signature,
    on_error: OnError,
    dead_letters: Option<String>,
    deterministic: bool,
    parallelism: Option<usize>,
}

impl WasmFunction {
    /// The signature as text.
    pub fn signature(&self) -> String {
        show(&self.signature)
    }

    /// Binds a call. Returns the types to which the arguments are cast, the type of the result, and the bound function.
    ///
    /// # Errors
    /// If it does not accept these arguments.
    pub fn bind(&self, args: &[SqlType]) -> Result<(Vec<SqlType>, SqlType, Arc<dyn Function>)> {
        let name = &self.loaded.instances.rights.name;
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
        let callee = Callee {
            instances: self.loaded.instances.clone(),
            index: self.index,
            crossings,
            gives: self.signature.dtype,
            on_error: self.on_error,
        };
        Ok((casts, ty, Arc::new(Bound { function: self.clone(), callee })))
    }
}

/// A function bound to the types of its arguments.
struct Bound {
    function: WasmFunction,
    callee: Callee,
}

impl Function for Bound {
    fn name(&self) -> &str {
        &self.callee.instances.rights.name
    }
    fn deterministic(&self) -> bool {
        self.function.deterministic
    }
    fn is_user_defined(&self) -> bool {
        true
    }
    fn dead_letters(&self) -> Option<String> {
        self.function.dead_letters.clone()
    }
    fn parallelism(&self) -> Option<usize> {
        self.function.parallelism
    }
    fn version(&self) -> Option<String> {
        // A component may have several functions, and the name in SQL may be given to another one.
        Some(format!("{} of {}", self.function.signature.name, self.function.loaded.version))
    }

    fn eval(&self, args: &[ArrayRef], rows: usize, ty: &SqlType, context: &mut EvalContext) -> Result<ArrayRef> {
        if rows == 0 {
            return Ok(new_null_array(&ty.arrow(), 0));
        }
        let instances = &self.callee.instances;
        let mut worker = instances.take()?;
        let result = if self.function.deterministic && worker.memory.pays() {
            self.remembering(&mut worker, args, rows, ty, context)
        } else {
            self.call(&mut worker, args, rows, ty, context, &|r| vec![r]).map(|(array, _)| array)
        };
        instances.give(worker);
        result
    }
}

impl Bound {
    /// Evaluates each distinct combination of arguments once, unless its result is cached.
    fn remembering(
        &self,
        worker: &mut PooledInstance,
        args: &[ArrayRef],
        rows: usize,
        ty: &SqlType,
        context: &mut EvalContext,
    ) -> Result<ArrayRef> {
        let keys = Keys::encode(args, rows);
        let mut places: HashMap<&[u8], u32, ahash::RandomState> =
            HashMap::with_capacity_and_hasher(rows / 4, Default::default());
        // For each row, the index of its distinct arguments; for each of these, the first row.
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
            .filter(|d| worker.memory.get(keys.get(first[*d as usize] as usize)).is_none())
            .collect();
        worker.memory.count(rows, rows - missing.len());
        self.callee.instances.metrics.remembered.inc_by((rows - missing.len()) as u64);
        let mut builder = ColumnBuilder::new(&ty.arrow());
        let mut slot: Vec<u32> = vec![u32::MAX; first.len()];
        let mut next = 0u32;
        for (d, row) in first.iter().enumerate() {
            if let Some(v) = worker.memory.get(keys.get(*row as usize)) {
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
            // A failure affects all rows with the same arguments.
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

    /// Calls the guest for all rows. `rows_of` gives the rows of the batch for which one of these stands. Returns the failed rows as well.
    fn call(
        &self,
        worker: &mut PooledInstance,
        args: &[ArrayRef],
        rows: usize,
        ty: &SqlType,
        context: &mut EvalContext,
        rows_of: &dyn Fn(usize) -> Vec<usize>,
    ) -> Result<(ArrayRef, Vec<usize>)> {
        Calls::new(&self.callee, worker, args, ty, context, rows_of).all(rows)
    }
}
