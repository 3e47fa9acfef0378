//! The host's side of guests: what it offers to them, and the resources that it holds for them, within limits and grants.

use crate::bindings::Udf;
use crate::bindings::weir::udf::{assets, log, types};
use crate::log::{Level, Log, Printed, cut};
use crate::waits::{HasWaits, Waits};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Engine, ResourceLimiter};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, HostResolveAddressStream, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket;
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynPollable, SocketError, TcpSocket};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use weir_core::function_options::Grant;
use weir_core::thread::locked;

/// Maximum number of open sockets of an instance with network access.
const SOCKETS: usize = 16;
/// Maximum number of handles that the host holds for an instance: of sockets, streams and pollables.
const HANDLES: usize = 1024;
/// Maximum number of name lookups of an instance in one call.
const LOOK_UPS: usize = 1000;
/// Maximum number of random bytes that are generated at once.
const RANDOM: u64 = 1 << 20;
/// Maximum number of modules, memories and tables of a component.
const PARTS: (usize, usize, usize) = (100, 16, 1000);

/// The rights of a guest.
#[derive(Clone)]
pub(crate) struct Rights {
    pub name: String,
    pub memory: usize,
    pub timeout: Duration,
    pub network: Vec<Grant>,
    pub assets: Arc<BTreeMap<String, Vec<u8>>>,
    pub log: Arc<Mutex<Log>>,
}

/// The host's state of an instance.
pub(crate) struct HostState {
    wasi: WasiCtx,
    table: ResourceTable,
    pub memory: Memory,
    /// The CPU time of the thread at which the current call must have ended.
    pub cpu_end: Duration,
    /// The point in time at which the current call must have ended, even if it waits.
    pub wall_end: Instant,
    pub rights: Rights,
    network: Arc<Mutex<Opened>>,
    sockets: BTreeSet<u32>,
    look_ups: usize,
    pub printed: Printed,
}

/// The addresses that may be connected to so far, and the first refused attempt.
#[derive(Default)]
struct Opened {
    addresses: Vec<SocketAddr>,
    refused: Option<String>,
}

impl Opened {
    fn refuse(&mut self, what: impl FnOnce() -> String) {
        self.refused.get_or_insert_with(what);
    }
}

impl HostState {
    pub fn new(rights: &Rights, cpu_end: Duration, wall_end: Instant) -> HostState {
        let network = Arc::new(Mutex::new(Opened::default()));
        for g in &rights.network {
            // Names are resolved when the grant is used, so that a connection goes to the address that was resolved.
            if let Ok(found) = (g.host.as_str(), g.port).to_socket_addrs() {
                locked(&network).addresses.extend(found);
            }
        }
        let printed = Printed::new(rights.log.clone());
        let check = network.clone();
        let mut wasi = WasiCtx::builder();
        wasi.stdout(printed.clone())
            .stderr(printed.clone())
            .max_random_size(RANDOM)
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
                            opened.refuse(|| format!("connecting to {address}"));
                        }
                        ok
                    }
                    _ => false,
                };
                Box::pin(async move { ok })
            });
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        HostState {
            wasi: wasi.build(),
            table,
            memory: Memory { used: 0, limit: rights.memory, hit: false },
            cpu_end,
            wall_end,
            rights: rights.clone(),
            network,
            sockets: BTreeSet::new(),
            look_ups: 0,
            printed,
        }
    }

    /// Starts a call with these time limits.
    pub fn begin(&mut self, cpu_end: Duration, wall_end: Instant) {
        (self.cpu_end, self.wall_end, self.look_ups) = (cpu_end, wall_end, 0);
    }

    /// Takes the attempts that were refused since the last call of this, as text for an error.
    pub fn refusals(&self) -> String {
        match locked(&self.network).refused.take() {
            Some(what) => {
                format!(" ({what} is not granted; grant it by 'network' = 'host:port' in CREATE FUNCTION … WITH (…))")
            }
            None => String::new(),
        }
    }
}

/// Maximum number of component model handles of an instance.
pub(crate) const COMPONENT_HANDLES: usize = 4 * HANDLES;

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for HostState {}

impl assets::Host for HostState {
    fn read(&mut self, name: String) -> wasmtime::Result<std::result::Result<Vec<u8>, String>> {
        let Some(asset) = self.rights.assets.get(&name) else {
            let known: Vec<&str> = self.rights.assets.keys().map(String::as_str).collect();
            let name = cut(&name);
            return Ok(Err(match known.as_slice() {
                [] => format!(
                    "there is no asset '{name}': the function has none; name a file or folder by 'assets' = '…'"
                ),
                k => format!("there is no asset '{name}'; there are {}", cut(&k.join(", "))),
            }));
        };
        self.memory.would_fit(asset.len())?;
        Ok(Ok(asset.clone()))
    }
}

impl log::Host for HostState {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        locked(&self.rights.log).line(level, &message);
        Ok(())
    }
}

/// The error of a guest that exceeds its memory limit.
#[derive(Debug, thiserror::Error)]
#[error("it wanted {wanted} bytes of memory, of {limit}")]
pub(crate) struct MemoryLimit {
    wanted: usize,
    limit: usize,
}

/// The memory of an instance: its own memory, its tables, and data that the host copies for it.
pub(crate) struct Memory {
    pub used: usize,
    limit: usize,
    /// Whether it has exceeded the limit.
    pub hit: bool,
}

impl Memory {
    /// Maximum number of bytes that the guest may pass in one call. They exist twice for a moment, so half of the remaining memory is
    /// allowed.
    pub fn handed_over(&self) -> usize {
        (self.limit.saturating_sub(self.used) / 2).max(1 << 20)
    }

    /// Fails if this many additional bytes exceed the limit.
    pub fn would_fit(&mut self, more: usize) -> wasmtime::Result<()> {
        let wanted = self.used.saturating_add(more);
        if wanted > self.limit {
            self.hit = true;
            return Err(MemoryLimit { wanted, limit: self.limit }.into());
        }
        Ok(())
    }

    fn grow(&mut self, more: usize) -> wasmtime::Result<bool> {
        self.would_fit(more)?;
        self.used += more;
        Ok(true)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, wanted: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(wanted.saturating_sub(current))
    }
    fn memory_grow_failed(&mut self, e: wasmtime::Error) -> wasmtime::Result<()> {
        self.hit = true;
        Err(e)
    }
    fn table_growing(&mut self, current: usize, wanted: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(wanted.saturating_sub(current).saturating_mul(size_of::<usize>()))
    }
    fn table_grow_failed(&mut self, e: wasmtime::Error) -> wasmtime::Result<()> {
        self.hit = true;
        Err(e)
    }
    fn instances(&self) -> usize {
        PARTS.0
    }
    fn memories(&self) -> usize {
        PARTS.1
    }
    fn tables(&self) -> usize {
        PARTS.2
    }
}

struct Sockets<'a> {
    sockets: WasiSocketsCtxView<'a>,
    rights: &'a Rights,
    network: &'a Arc<Mutex<Opened>>,
    open: &'a mut BTreeSet<u32>,
    look_ups: &'a mut usize,
}

struct HasSockets;

impl HasData for HasSockets {
    type Data<'a> = Sockets<'a>;
}

impl network::Host for Sockets<'_> {
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

impl network::HostNetwork for Sockets<'_> {
    fn drop(&mut self, n: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets, n)
    }
}

impl tcp_create_socket::Host for Sockets<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> std::result::Result<Resource<TcpSocket>, SocketError> {
        // Without a grant, one socket is sufficient for an error that names the address.
        let most = if self.rights.network.is_empty() { 1 } else { SOCKETS };
        if self.open.len() >= most {
            let table = &*self.sockets.table;
            self.open.retain(|s| table.get(&Resource::<TcpSocket>::new_borrow(*s)).is_ok());
        }
        if self.open.len() >= most {
            locked(self.network).refuse(|| format!("having more than {most} sockets open"));
            return Err(ErrorCode::NewSocketLimit.into());
        }
        let socket = tcp_create_socket::Host::create_tcp_socket(&mut self.sockets, family)?;
        self.open.insert(socket.rep());
        Ok(socket)
    }
}

impl ip_name_lookup::Host for Sockets<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> std::result::Result<Resource<ResolveAddressStream>, SocketError> {
        let wanted = name.trim_end_matches('.');
        if !self.rights.network.iter().any(|g| g.host.eq_ignore_ascii_case(wanted)) {
            locked(self.network).refuse(|| format!("looking up {}", crate::log::one_line(wanted)));
            return Err(ErrorCode::AccessDenied.into());
        }
        *self.look_ups += 1;
        if *self.look_ups > LOOK_UPS {
            return Err(ErrorCode::TemporaryResolverFailure.into());
        }
        ip_name_lookup::Host::resolve_addresses(&mut self.sockets, network, name)
    }
}

impl HostResolveAddressStream for Sockets<'_> {
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

/// The imports of guests.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut l = Linker::<HostState>::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut l)?;
    Udf::add_to_linker::<HostState, HasSelf<HostState>>(&mut l, |s| s)?;
    // Replaces functions that could wait forever, open what was not granted, or hold on to what they receive.
    l.allow_shadowing(true);
    fn waits(s: &mut HostState) -> Waits<'_> {
        Waits { table: &mut s.table, end: s.wall_end }
    }
    poll::add_to_linker::<HostState, HasWaits>(&mut l, waits)?;
    streams::add_to_linker::<HostState, HasWaits>(&mut l, waits)?;
    fn network(s: &mut HostState) -> Sockets<'_> {
        Sockets {
            sockets: WasiSocketsCtxView { ctx: s.wasi.sockets(), table: &mut s.table },
            rights: &s.rights,
            network: &s.network,
            open: &mut s.sockets,
            look_ups: &mut s.look_ups,
        }
    }
    ip_name_lookup::add_to_linker::<HostState, HasSockets>(&mut l, network)?;
    tcp_create_socket::add_to_linker::<HostState, HasSockets>(&mut l, network)?;
    l.allow_shadowing(false);
    Ok(l)
}
