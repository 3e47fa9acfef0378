//! The sandbox: what a guest may use, and what happens if it exceeds its limits.
//!
//! A guest gets no files, no environment and no arguments. It can only connect to granted addresses and only resolve granted names. Every
//! refusal is recorded, since a guest can ignore it. The CPU time of the calling thread is limited, and waiting is limited by the clock.

use crate::binary::Binary;
use crate::bindings::weir::udf::types;
use crate::bindings::{Udf, UdfPre};
use crate::cache::{Cache, CacheEntry};
use crate::compile::compile;
use crate::engine::{Runs, engine};
use crate::host::{COMPONENT_HANDLES, HostState, MemoryLimit, Rights, linker};
use crate::log::{cut, one_line};
use crate::waits::WallLimit;
use std::time::{Duration, Instant};
use wasmtime::{Engine, Store, UpdateDeadline};
use weir_core::clock::thread_cpu;
use weir_core::thread::locked;
use weir_core::{Error, Result};

#[derive(Debug, thiserror::Error)]
#[error("the processor time is used up")]
struct CpuLimit;

/// A loaded component.
#[derive(Clone)]
pub struct Component {
    pre: UdfPre<HostState>,
    /// The hash of its bytes.
    version: String,
}

/// How much longer a call may wait than compute.
const WAITING: u32 = 3;

/// The contract's export, with its version.
const EXPORT: &str = "weir:udf/functions@1.0.0";

impl Component {
    /// Loads a component. If the cache has it in compiled form, it is not compiled again.
    ///
    /// # Errors
    /// If the bytes are not a component, or the component has another contract.
    pub fn load(binary: &Binary, cache: &Cache) -> Result<Component> {
        let engine = engine()?;
        let shown = binary.path().display();
        match binary.bytes().get(..8) {
            Some(b"\0asm\x0d\0\x01\0") => {}
            Some(b"\0asm\x01\0\0\0") => {
                return Err(Error::script(format!("{shown} is a core Wasm module, not a component"))
                    .hint("build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"));
            }
            _ => return Err(Error::script(format!("{shown} is no WebAssembly"))),
        }
        let component = compiled(engine, binary, cache)?;
        if component.get_export_index(None, EXPORT).is_none() {
            let ty = component.component_type();
            let found: Vec<String> = ty.exports(engine).map(|(name, _)| name.to_string()).collect();
            let e = Error::script(format!("{shown} does not export {EXPORT}"));
            return Err(match found.iter().find(|n| n.starts_with("weir:udf/")) {
                Some(old) => {
                    e.hint(format!("it exports {old}, another version of the contract; build it again with this SDK"))
                }
                None if found.is_empty() => {
                    e.hint("it exports nothing; `weir udf new` shows how a function is written")
                }
                None => e.hint(format!("it exports {}", found.join(", "))),
            });
        }
        let link =
            || -> wasmtime::Result<UdfPre<HostState>> { UdfPre::new(linker(engine)?.instantiate_pre(&component)?) };
        let pre = link().map_err(|e| {
            Error::script(format!("{shown} does not fit the contract: {}", first_line(&format!("{e:#}"))))
                .with_source(e)
        })?;
        let version = hex::encode(&binary.hash()[..6]);
        Ok(Component { pre, version })
    }

    /// The hash of its bytes.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn instantiate(&self, rights: &Rights) -> Result<Instance> {
        let state = HostState::new(rights, thread_cpu() + rights.timeout, Instant::now() + rights.timeout * WAITING);
        let mut store = Store::new(engine()?, state);
        store.limiter(|s| &mut s.memory);
        store.set_max_component_handles(COMPONENT_HANDLES);
        store.epoch_deadline_callback(|cx| {
            if thread_cpu() >= cx.data().cpu_end { Err(CpuLimit.into()) } else { Ok(UpdateDeadline::Continue(1)) }
        });
        store.set_epoch_deadline(1);
        let runs = Runs::new();
        let udf = self.pre.instantiate(&mut store).map_err(|e| trap(&store, e).error)?;
        drop(runs);
        let mut instance = Instance { store, udf };
        let opened = instance.guard(rights.timeout, WAITING, |store, udf| udf.weir_udf_functions().call_open(store));
        opened.map_err(|t| t.error)?.map_err(|e| {
            let refusals = instance.refusals();
            Error::function(format!("{}: it could not be opened: {}{refusals}", rights.name, cut(&e)))
        })?;
        Ok(instance)
    }
}

fn first_line(s: &str) -> String {
    s.lines().next().unwrap_or_default().to_string()
}

/// Compiles a component, or takes it from the cache if this version of Weir has compiled it for this machine.
fn compiled(engine: &Engine, binary: &Binary, cache: &Cache) -> Result<wasmtime::component::Component> {
    use sha2::Digest;
    use std::hash::{Hash, Hasher};
    struct Sum(sha2::Sha256);
    impl Hasher for Sum {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, b: &[u8]) {
            self.0.update(b);
        }
    }
    let mut sum = Sum(sha2::Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sum);
    sum.write(binary.hash());
    let name = format!("compiled/{}.cwasm", hex::encode(sum.0.finalize()));
    let (bytes, shown) = (binary.bytes(), binary.path().display().to_string());
    // SAFETY: the cache gives what this version of Weir put there, and nothing else; the file stays what it was while it is mapped.
    let load = |kept: CacheEntry| unsafe { wasmtime::component::Component::deserialize_file(engine, kept.path()) };
    if let Some(kept) = cache.get(&name)
        && let Ok(c) = load(kept)
    {
        return Ok(c);
    }
    if bytes.len() > 4 << 20 {
        tracing::info!("compiling a component of {} MB, once", bytes.len() >> 20);
    }
    let compiled = compile(engine, bytes, &shown, cache)?;
    let loaded = match cache.put(&name, |to| std::fs::write(to, &compiled)) {
        Ok(()) if let Some(kept) = cache.get(&name) => load(kept),
        put => {
            // If the cache cannot be written, this costs time but does not fail the job.
            if let Err(e) = put {
                tracing::warn!("the compiled component cannot be kept in {}: {e}", cache.folder().display());
            }
            // SAFETY: the bytes were made by this engine a moment ago.
            unsafe { wasmtime::component::Component::deserialize(engine, &compiled) }
        }
    };
    loaded.map_err(|e| {
        Error::tool(format!("{shown} was compiled, and cannot be loaded: {}", first_line(&format!("{e:#}"))))
            .with_source(e)
    })
}

/// An instance of a guest.
pub(crate) struct Instance {
    store: Store<HostState>,
    udf: Udf,
}

/// A call that did not return.
pub(crate) struct Trapped {
    pub error: Error,
    /// Whether it exceeded its time limit.
    pub late: bool,
}

/// Part of wasmtime's message if a guest passes more data than the host accepts at once. The type of the error is private.
const TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

/// Describes a trap, with the last output of the guest.
fn trap(store: &Store<HostState>, e: wasmtime::Error) -> Trapped {
    let state = store.data();
    let Rights { name, timeout, memory, .. } = &state.rights;
    let said = match state.printed.last_words() {
        words if words.is_empty() => String::new(),
        words => format!(" ({words})"),
    };
    let late = e.is::<CpuLimit>() || e.is::<WallLimit>();
    let handed_over = e.chain().any(|e| e.to_string().contains(TOO_MUCH));
    let greedy = e.is::<MemoryLimit>() || state.memory.hit || handed_over;
    let what = if e.is::<CpuLimit>() {
        format!("it used more than {timeout:?} of processor time")
    } else if e.is::<WallLimit>() {
        format!("it waited longer than {:?}", *timeout * WAITING)
    } else if greedy {
        let more = if handed_over { ", with what it handed over in one call" } else { "" };
        format!("it wanted more than {} MB of memory{more}", memory >> 20)
    } else if let Some(code) = e.downcast_ref::<wasmtime_wasi::I32Exit>() {
        format!("it called exit({})", code.0)
    } else if let Some(t) = e.downcast_ref::<wasmtime::Trap>() {
        match t {
            wasmtime::Trap::StackOverflow => "its stack overflowed".to_string(),
            wasmtime::Trap::UnreachableCodeReached => format!("it panicked{said}"),
            t => format!("it trapped: {t}{said}"),
        }
    } else {
        // Only the cause is shown, since the texts before it are the guest's position.
        let cause = e.chain().last().map(|c| first_line(&c.to_string())).unwrap_or_default();
        format!("it broke the contract: {}{said}", one_line(&cause))
    };
    let error = Error::function(format!("{name}: {what}{}", state.refusals()));
    let error = if late {
        error.hint("a longer time is granted by 'timeout' = '60s' in CREATE FUNCTION … WITH (…)")
    } else if greedy {
        error.hint("more is granted by 'memory' = '1gb' in CREATE FUNCTION … WITH (…)")
    } else {
        error
    };
    Trapped { error: error.with_source(e), late }
}

/// Maximum number of functions in a component, and of bytes for the names of functions and arguments.
const SIGNATURES: (usize, usize) = (1000, 64 << 10);

impl Instance {
    /// Calls the guest with a CPU time limit. It may wait `waiting` times as long.
    fn guard<T>(
        &mut self,
        within: Duration,
        waiting: u32,
        f: impl FnOnce(&mut Store<HostState>, &Udf) -> wasmtime::Result<T>,
    ) -> Result<T, Trapped> {
        let s = self.store.data_mut();
        s.begin(thread_cpu() + within, Instant::now() + within * waiting);
        let handed_over = s.memory.handed_over();
        self.store.set_hostcall_fuel(handed_over);
        self.store.set_epoch_deadline(1);
        let runs = Runs::new();
        let result = f(&mut self.store, &self.udf);
        drop(runs);
        locked(&self.store.data().rights.log).call_ended();
        result.map_err(|e| trap(&self.store, e))
    }

    /// The signatures of the component.
    pub fn describe(&mut self) -> Result<Vec<types::Signature>> {
        let timeout = self.store.data().rights.timeout;
        let told = self.guard(timeout, WAITING, |store, udf| udf.weir_udf_functions().call_describe(store));
        let told = told.map_err(|t| t.error)?;
        let fields = |s: &types::Signature| s.args.iter().flatten().map(|f| f.name.len() + 16).sum::<usize>();
        let bytes: usize = told.iter().map(|s| s.name.len() + fields(s)).sum();
        if told.len() > SIGNATURES.0 || bytes > SIGNATURES.1 {
            let (name, (most, bytes)) = (&self.store.data().rights.name, SIGNATURES);
            return Err(Error::function(format!(
                "{name}: it broke the contract: it offers more than {most} functions, or their names take more than {} KB",
                bytes >> 10
            )));
        }
        Ok(told)
    }

    /// Evaluates a function within a CPU time limit. It may wait longer where allowed. The outer error is a trap, after which the instance
    /// cannot be used any more.
    pub fn eval(
        &mut self,
        function: u32,
        rows: u32,
        args: &[types::Column],
        within: Duration,
        waits: bool,
    ) -> Result<std::result::Result<types::Output, String>, Trapped> {
        self.guard(within, if waits { WAITING } else { 1 }, |store, udf| {
            udf.weir_udf_functions().call_eval(store, function, rows, args)
        })
    }

    /// Takes the attempts that were refused since the last call of this, as text for an error.
    pub fn refusals(&self) -> String {
        self.store.data().refusals()
    }

    /// The memory that it uses, in bytes.
    pub fn memory(&self) -> usize {
        self.store.data().memory.used
    }
}
