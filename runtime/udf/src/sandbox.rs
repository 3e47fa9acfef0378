//! The sandbox: what a guest may use, and what happens when it takes more.
//!
//! A guest gets no files, no environment and no arguments. Sockets open only to granted addresses, names are resolved only
//! where granted, and every refusal is noted, for a guest can swallow it. Processor time is counted on the calling thread;
//! waiting is bounded by the clock.

use crate::cache::{Cache, Kept};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Config, Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::io::poll as waiting;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, HostResolveAddressStream, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::bindings::sync::io::poll;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, SocketError, StreamResult};
use wasmtime_wasi::runtime::in_tokio;
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};
use weir_core::clock::thread_cpu;
use weir_core::thread::locked;
use weir_core::{Error, Result};

pub(crate) mod bindings {
    #![allow(missing_docs, reason = "generated from the contract, which has the words")]
    wasmtime::component::bindgen!({
        path: "../../udf-sdk/wit",
        world: "udf",
        imports: { default: trappable },
    });
}

use bindings::weir::udf::{assets, log, types};
use bindings::{Udf, UdfPre};

/// An address that a function may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    host: String,
    port: u16,
}

impl Grant {
    /// Reads grants: `host:port`, several with commas between.
    ///
    /// # Errors
    /// When one is no host and port.
    pub fn parse_all(text: &str) -> Result<Vec<Grant>> {
        text.split(',')
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(|t| {
                let wrong = || Error::script(format!("a network grant is host:port, not '{t}'"));
                let (host, port) = t.rsplit_once(':').ok_or_else(wrong)?;
                let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
                Ok(Grant { host, port: port.parse().map_err(|_| wrong())? })
            })
            .collect()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the processor time is used up")]
struct CpuLimit;

#[derive(Debug, thiserror::Error)]
#[error("it waited too long")]
struct WallLimit;

#[derive(Debug, thiserror::Error)]
#[error("it wanted {wanted} bytes of memory, of {limit}")]
struct MemoryLimit {
    wanted: usize,
    limit: usize,
}

/// Guests that run at the moment. Only while there are such does somebody tell them the time.
static GUESTS: AtomicUsize = AtomicUsize::new(0);
static TICKER: OnceLock<std::thread::Thread> = OnceLock::new();

/// A guest runs as long as this is there.
struct Runs;

impl Runs {
    fn new() -> Self {
        if GUESTS.fetch_add(1, Ordering::SeqCst) == 0 {
            TICKER.get().into_iter().for_each(std::thread::Thread::unpark);
        }
        Runs
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        GUESTS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The engine: one a process.
///
/// # Errors
/// When this machine cannot run it.
pub fn engine() -> Result<&'static Engine> {
    static ENGINE: OnceLock<std::result::Result<Engine, String>> = OnceLock::new();
    let made = ENGINE.get_or_init(|| {
        let mut c = Config::new();
        c.epoch_interruption(true).concurrency_support(false).memory_init_cow(true).max_wasm_stack(1 << 20);
        let engine = Engine::new(&c).map_err(|e| format!("{e:#}"))?;
        let weak = engine.weak();
        let ticker = std::thread::Builder::new()
            .name("weir-ticker".to_string())
            .spawn(move || {
                while let Some(e) = weak.upgrade() {
                    if GUESTS.load(Ordering::SeqCst) > 0 {
                        e.increment_epoch();
                        drop(e);
                    } else {
                        drop(e);
                        std::thread::park();
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
            .map_err(|e| e.to_string())?;
        let _ = TICKER.set(ticker.thread().clone());
        Ok(engine)
    });
    made.as_ref().map_err(|e| Error::internal(format!("the Wasm engine does not start: {e}")))
}

/// What a guest is given.
#[derive(Clone)]
pub(crate) struct Rights {
    pub name: String,
    pub memory: usize,
    pub timeout: Duration,
    pub network: Vec<Grant>,
    pub assets: Arc<BTreeMap<String, Vec<u8>>>,
}

pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    memory: Memory,
    cpu_end: Duration,
    wall_end: Instant,
    rights: Rights,
    network: Arc<Mutex<Opened>>,
    out: LineSink,
}

/// Addresses that may be connected to by now, and attempts that were refused.
#[derive(Default)]
struct Opened {
    addresses: Vec<SocketAddr>,
    refused: Vec<String>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl assets::Host for State {
    fn read(&mut self, name: String) -> wasmtime::Result<std::result::Result<Vec<u8>, String>> {
        Ok(self.rights.assets.get(&name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.rights.assets.keys().map(String::as_str).collect();
            match known.as_slice() {
                [] => format!(
                    "there is no asset '{name}': the function has none; name a file or folder by 'assets' = '…'"
                ),
                k => format!("there is no asset '{name}'; there are {}", k.join(", ")),
            }
        }))
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let (name, m) = (&self.rights.name, cut(&message));
        match level {
            log::Level::Debug => tracing::debug!("{name}: {m}"),
            log::Level::Info => tracing::info!("{name}: {m}"),
            log::Level::Warn => tracing::warn!("{name}: {m}"),
            log::Level::Error => tracing::error!("{name}: {m}"),
        }
        Ok(())
    }
}

fn cut(s: &str) -> String {
    s.chars().take(2000).collect()
}

struct Memory {
    used: usize,
    limit: usize,
    hit: bool,
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, wanted: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(wanted.saturating_sub(current));
        if wanted > self.limit {
            self.hit = true;
            return Err(MemoryLimit { wanted, limit: self.limit }.into());
        }
        self.used = wanted;
        Ok(true)
    }
    fn memory_grow_failed(&mut self, e: wasmtime::Error) -> wasmtime::Result<()> {
        self.hit = true;
        Err(e)
    }
    fn table_growing(&mut self, _current: usize, wanted: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(wanted <= 1 << 20)
    }
}

/// Standard output and error of a guest: lines into the log, a bounded number of them a second, never closed.
#[derive(Clone)]
struct LineSink(Arc<Mutex<Lines>>);

struct Lines {
    name: String,
    buffer: Vec<u8>,
    last: String,
    window: Instant,
    written: u32,
    dropped: u64,
}

const LINES_A_SECOND: u32 = 100;

impl Lines {
    fn push(&mut self, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            self.buffer.extend_from_slice(&bytes[..at]);
            self.line();
            bytes = &bytes[at + 1..];
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > 8 << 10 {
            self.line();
        }
    }
    fn line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned();
        if self.window.elapsed() > Duration::from_secs(1) {
            if self.dropped > 0 {
                tracing::warn!("{}: {} lines were left out", self.name, self.dropped);
            }
            (self.window, self.written, self.dropped) = (Instant::now(), 0, 0);
        }
        if self.written < LINES_A_SECOND {
            self.written += 1;
            if !line.trim().is_empty() {
                tracing::info!("{}: {}", self.name, cut(&line));
            }
        } else {
            self.dropped += 1;
        }
        if !line.trim().is_empty() && !line.starts_with("note:") {
            self.last = line;
        }
    }
}

impl IsTerminal for LineSink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineSink {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        StdoutStream::async_stream(&wasmtime_wasi::p2::pipe::SinkOutputStream)
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LineSink {
    async fn ready(&mut self) {}
}

impl OutputStream for LineSink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        locked(&self.0).push(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

struct Names<'a> {
    sockets: WasiSocketsCtxView<'a>,
    rights: &'a Rights,
    network: &'a Arc<Mutex<Opened>>,
}

struct HasNames;

impl HasData for HasNames {
    type Data<'a> = Names<'a>;
}

impl network::Host for Names<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.sockets, error)
    }
    fn network_error_code(
        &mut self,
        error: Resource<wasmtime_wasi::p2::bindings::io::error::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets, error)
    }
}

impl network::HostNetwork for Names<'_> {
    fn drop(&mut self, n: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets, n)
    }
}

impl ip_name_lookup::Host for Names<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> std::result::Result<Resource<ResolveAddressStream>, SocketError> {
        let wanted = name.trim_end_matches('.').to_ascii_lowercase();
        if !self.rights.network.iter().any(|g| g.host == wanted) {
            locked(self.network).refused.push(format!("looking up {wanted}"));
            return Err(ErrorCode::AccessDenied.into());
        }
        ip_name_lookup::Host::resolve_addresses(&mut self.sockets, network, name)
    }
}

impl HostResolveAddressStream for Names<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> std::result::Result<Option<IpAddress>, SocketError> {
        HostResolveAddressStream::resolve_next_address(&mut self.sockets, stream)
    }
    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        HostResolveAddressStream::subscribe(&mut self.sockets, stream)
    }
    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        HostResolveAddressStream::drop(&mut self.sockets, stream)
    }
}

struct Waits<'a> {
    table: &'a mut ResourceTable,
    end: Instant,
}

struct HasWaits;

impl HasData for HasWaits {
    type Data<'a> = Waits<'a>;
}

fn until<T>(end: Instant, f: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    in_tokio(async move {
        match tokio::time::timeout_at(end.into(), f).await {
            Ok(r) => r,
            Err(_) => Err(WallLimit.into()),
        }
    })
}

impl poll::Host for Waits<'_> {
    fn poll(&mut self, list: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        until(self.end, waiting::Host::poll(&mut *self.table, list))
    }
}

impl poll::HostPollable for Waits<'_> {
    fn ready(&mut self, p: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll::HostPollable::ready(&mut *self.table, p)
    }
    fn block(&mut self, p: Resource<DynPollable>) -> wasmtime::Result<()> {
        until(self.end, waiting::HostPollable::block(&mut *self.table, p))
    }
    fn drop(&mut self, p: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(&mut *self.table, p)
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut l = Linker::<State>::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut l)?;
    Udf::add_to_linker::<State, HasSelf<State>>(&mut l, |s| s)?;
    l.allow_shadowing(true);
    poll::add_to_linker::<State, HasWaits>(&mut l, |s| Waits { table: &mut s.table, end: s.wall_end })?;
    ip_name_lookup::add_to_linker::<State, HasNames>(&mut l, |s| Names {
        sockets: WasiSocketsCtxView { ctx: s.wasi.sockets(), table: &mut s.table },
        rights: &s.rights,
        network: &s.network,
    })?;
    l.allow_shadowing(false);
    Ok(l)
}

/// A loaded component.
#[derive(Clone)]
pub struct Component {
    pre: UdfPre<State>,
    /// What its bytes are known by.
    version: String,
}

/// The contract's export, with its version.
const EXPORT: &str = "weir:udf/functions@1.0.0";

impl Component {
    /// Loads a component, compiled before where the cache has it.
    ///
    /// # Errors
    /// When the bytes are no component, or one of another contract.
    pub fn load(path: &Path, cache: &Cache) -> Result<Component> {
        let engine = engine()?;
        let shown = path.display();
        let bytes = std::fs::read(path).map_err(|e| Error::script(format!("cannot read {shown}: {e}")))?;
        match bytes.get(..8) {
            Some(b"\0asm\x0d\0\x01\0") => {}
            Some(b"\0asm\x01\0\0\0") => {
                return Err(Error::script(format!("{shown} is a core Wasm module, not a component"))
                    .hint("build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"));
            }
            _ => return Err(Error::script(format!("{shown} is no WebAssembly"))),
        }
        let component = compiled(engine, &bytes, cache).map_err(|e| {
            Error::script(format!("{shown} is no component that can be compiled: {}", first_line(&format!("{e:#}"))))
        })?;
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
        let link = || -> wasmtime::Result<UdfPre<State>> { UdfPre::new(linker(engine)?.instantiate_pre(&component)?) };
        let pre = link().map_err(|e| {
            Error::script(format!("{shown} does not fit the contract: {}", first_line(&format!("{e:#}"))))
        })?;
        use sha2::Digest;
        let version = hex::encode(sha2::Sha256::digest(&bytes))[..12].to_string();
        Ok(Component { pre, version })
    }

    /// What its bytes are known by.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn instantiate(&self, rights: &Rights) -> Result<Instance> {
        let network = Arc::new(Mutex::new(Opened::default()));
        for g in &rights.network {
            // Names are resolved when the grant is used, so that a connection goes where the name led.
            if let Ok(found) = (g.host.as_str(), g.port).to_socket_addrs() {
                locked(&network).addresses.extend(found);
            }
        }
        let out = LineSink(Arc::new(Mutex::new(Lines {
            name: rights.name.clone(),
            buffer: vec![],
            last: String::new(),
            window: Instant::now(),
            written: 0,
            dropped: 0,
        })));
        let check = network.clone();
        let mut wasi = WasiCtx::builder();
        wasi.stdout(out.clone())
            .stderr(out.clone())
            .allow_tcp(true)
            .allow_udp(false)
            .allow_ip_name_lookup(true)
            .socket_addr_check(move |address, usage| {
                let ok = match usage {
                    SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
                        address.ip().is_unspecified() && address.port() == 0
                    }
                    SocketAddrUse::TcpConnect => {
                        let mut opened = locked(&check);
                        let ok = opened.addresses.contains(&address);
                        if !ok {
                            opened.refused.push(format!("connecting to {address}"));
                        }
                        ok
                    }
                    _ => false,
                };
                Box::pin(async move { ok })
            });
        let state = State {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            memory: Memory { used: 0, limit: rights.memory, hit: false },
            cpu_end: thread_cpu() + rights.timeout,
            wall_end: Instant::now() + rights.timeout * 3,
            rights: rights.clone(),
            network,
            out,
        };
        let mut store = Store::new(engine()?, state);
        store.limiter(|s| &mut s.memory);
        store.set_hostcall_fuel(1 << 30);
        store.epoch_deadline_callback(|cx| {
            if thread_cpu() >= cx.data().cpu_end { Err(CpuLimit.into()) } else { Ok(UpdateDeadline::Continue(1)) }
        });
        store.set_epoch_deadline(1);
        let runs = Runs::new();
        let udf = self.pre.instantiate(&mut store).map_err(|e| trap(&store, &e))?;
        drop(runs);
        let mut instance = Instance { store, udf };
        instance.guard(|store, udf| udf.weir_udf_functions().call_open(store))?.map_err(|e| {
            let refusals = instance.refusals();
            Error::function(format!("{}: it could not be opened: {}{refusals}", rights.name, cut(&e)))
        })?;
        Ok(instance)
    }
}

fn first_line(s: &str) -> String {
    s.lines().next().unwrap_or_default().to_string()
}

/// Compiles, or takes what was compiled before by this version for this machine.
fn compiled(engine: &Engine, bytes: &[u8], cache: &Cache) -> wasmtime::Result<wasmtime::component::Component> {
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
    sum.write(bytes);
    let name = format!("compiled/{}.cwasm", hex::encode(sum.0.finalize()));
    // SAFETY: the cache gives what this version of Weir put there, and nothing else; the file stays what it was while it is mapped.
    let load = |kept: Kept| unsafe { wasmtime::component::Component::deserialize_file(engine, kept.path()) };
    if let Some(kept) = cache.get(&name)
        && let Ok(c) = load(kept)
    {
        return Ok(c);
    }
    if bytes.len() > 4 << 20 {
        tracing::info!("compiling a component of {} MB, once", bytes.len() >> 20);
    }
    let compiled = engine.precompile_component(bytes)?;
    match cache.put(&name, |to| std::fs::write(to, &compiled)) {
        Ok(()) if let Some(kept) = cache.get(&name) => load(kept),
        put => {
            // A cache that cannot be written costs time, not the job.
            if let Err(e) = put {
                tracing::warn!("the compiled component cannot be kept in {}: {e}", cache.folder().display());
            }
            // SAFETY: the bytes were made by this engine a moment ago.
            unsafe { wasmtime::component::Component::deserialize(engine, &compiled) }
        }
    }
}

/// A guest at work.
pub(crate) struct Instance {
    store: Store<State>,
    udf: Udf,
}

/// What a trap was, in words, with the guest's own last ones.
fn trap(store: &Store<State>, e: &wasmtime::Error) -> Error {
    let state = store.data();
    let name = &state.rights.name;
    let limits = &state.rights;
    let mut lines = locked(&state.out.0);
    if !lines.buffer.is_empty() {
        lines.line();
    }
    let said = if lines.last.is_empty() { String::new() } else { format!(" ({})", cut(&lines.last)) };
    let what = if e.is::<CpuLimit>() {
        format!("it used more than {:?} of processor time", limits.timeout)
    } else if e.is::<WallLimit>() {
        format!("it waited longer than {:?}", limits.timeout * 3)
    } else if e.is::<MemoryLimit>() || state.memory.hit {
        format!("it wanted more than {} MB of memory", limits.memory >> 20)
    } else if let Some(code) = e.downcast_ref::<wasmtime_wasi::I32Exit>() {
        format!("it called exit({})", code.0)
    } else if let Some(t) = e.downcast_ref::<wasmtime::Trap>() {
        match t {
            wasmtime::Trap::StackOverflow => "its stack overflowed".to_string(),
            wasmtime::Trap::UnreachableCodeReached => format!("it panicked{said}"),
            t => format!("it trapped: {t}{said}"),
        }
    } else {
        format!("it broke the contract: {}{said}", first_line(&format!("{:#}", e)))
    };
    let refused = refusals(&state.network);
    let error = Error::function(format!("{name}: {what}{refused}"));
    if e.is::<CpuLimit>() || e.is::<WallLimit>() {
        error.hint("a longer time is granted by 'timeout' = '60s' in CREATE FUNCTION … WITH (…)")
    } else if e.is::<MemoryLimit>() || state.memory.hit {
        error.hint("more is granted by 'memory' = '1gb' in CREATE FUNCTION … WITH (…)")
    } else {
        error
    }
}

impl Instance {
    /// Calls into the guest with a fresh allowance of time.
    fn guard<T>(&mut self, f: impl FnOnce(&mut Store<State>, &Udf) -> wasmtime::Result<T>) -> Result<T> {
        let s = self.store.data_mut();
        s.cpu_end = thread_cpu() + s.rights.timeout;
        s.wall_end = Instant::now() + s.rights.timeout * 3;
        self.store.set_epoch_deadline(1);
        let _runs = Runs::new();
        let result = f(&mut self.store, &self.udf);
        result.map_err(|e| trap(&self.store, &e))
    }

    /// What the component offers.
    pub fn describe(&mut self) -> Result<Vec<types::Signature>> {
        self.guard(|store, udf| udf.weir_udf_functions().call_describe(store))
    }

    /// Evaluates a function. The outer error is a trap, after which the instance is spent.
    pub fn eval(
        &mut self,
        function: u32,
        rows: u32,
        args: &[types::Column],
    ) -> Result<std::result::Result<types::Output, String>> {
        self.guard(|store, udf| udf.weir_udf_functions().call_eval(store, function, rows, args))
    }

    /// What was refused since the last time, in words for an error.
    pub fn refusals(&self) -> String {
        refusals(&self.store.data().network)
    }

    /// Bytes of memory that it has taken.
    pub fn memory(&self) -> usize {
        self.store.data().memory.used
    }
}

fn refusals(network: &Mutex<Opened>) -> String {
    let refused = std::mem::take(&mut locked(network).refused);
    match refused.first() {
        Some(what) => {
            format!(" ({what} is not granted; grant it by 'network' = 'host:port' in CREATE FUNCTION … WITH (…))")
        }
        None => String::new(),
    }
}
