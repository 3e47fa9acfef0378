//! Host calls in which a guest waits. Each of them ends at the guest's time limit.

use std::future::Future;
use std::time::Instant;
use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::io::{poll as waiting, streams as flowing};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::in_tokio;

/// The error of a guest that has waited for too long.
#[derive(Debug, thiserror::Error)]
#[error("it waited too long")]
pub(crate) struct WallLimit;

/// What a guest waits for, and its time limit.
pub(crate) struct Waits<'a> {
    pub table: &'a mut ResourceTable,
    pub end: Instant,
}

pub(crate) struct HasWaits;

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

fn flow_until<T>(end: Instant, f: impl Future<Output = StreamResult<T>>) -> StreamResult<T> {
    in_tokio(async move {
        match tokio::time::timeout_at(end.into(), f).await {
            Ok(r) => r,
            Err(_) => Err(StreamError::Trap(WallLimit.into())),
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

impl streams::Host for Waits<'_> {
    fn convert_stream_error(&mut self, e: StreamError) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(&mut *self.table, e)
    }
}

impl streams::HostInputStream for Waits<'_> {
    fn read(&mut self, s: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        streams::HostInputStream::read(&mut *self.table, s, len)
    }
    fn blocking_read(&mut self, s: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        flow_until(self.end, flowing::HostInputStream::blocking_read(&mut *self.table, s, len))
    }
    fn skip(&mut self, s: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        streams::HostInputStream::skip(&mut *self.table, s, len)
    }
    fn blocking_skip(&mut self, s: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        flow_until(self.end, flowing::HostInputStream::blocking_skip(&mut *self.table, s, len))
    }
    fn subscribe(&mut self, s: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostInputStream::subscribe(&mut *self.table, s)
    }
    fn drop(&mut self, s: Resource<DynInputStream>) -> wasmtime::Result<()> {
        until(self.end, flowing::HostInputStream::drop(&mut *self.table, s))
    }
}

impl streams::HostOutputStream for Waits<'_> {
    fn check_write(&mut self, s: Resource<DynOutputStream>) -> StreamResult<u64> {
        streams::HostOutputStream::check_write(&mut *self.table, s)
    }
    fn write(&mut self, s: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        streams::HostOutputStream::write(&mut *self.table, s, bytes)
    }
    fn blocking_write_and_flush(&mut self, s: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        flow_until(self.end, flowing::HostOutputStream::blocking_write_and_flush(&mut *self.table, s, bytes))
    }
    fn flush(&mut self, s: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::flush(&mut *self.table, s)
    }
    fn blocking_flush(&mut self, s: Resource<DynOutputStream>) -> StreamResult<()> {
        flow_until(self.end, flowing::HostOutputStream::blocking_flush(&mut *self.table, s))
    }
    fn subscribe(&mut self, s: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostOutputStream::subscribe(&mut *self.table, s)
    }
    fn write_zeroes(&mut self, s: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        // The requested number of zeros is created before anything checks whether there is room for them.
        let room = streams::HostOutputStream::check_write(&mut *self.table, Resource::new_borrow(s.rep()))?;
        if len > room {
            return Err(StreamError::trap("more zeros are written than there is room for"));
        }
        streams::HostOutputStream::write_zeroes(&mut *self.table, s, len)
    }
    fn blocking_write_zeroes_and_flush(&mut self, s: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        flow_until(self.end, flowing::HostOutputStream::blocking_write_zeroes_and_flush(&mut *self.table, s, len))
    }
    fn splice(&mut self, s: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        streams::HostOutputStream::splice(&mut *self.table, s, from, len)
    }
    fn blocking_splice(
        &mut self,
        s: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        flow_until(self.end, flowing::HostOutputStream::blocking_splice(&mut *self.table, s, from, len))
    }
    fn drop(&mut self, s: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        // Buffered output is sent first, which requires that the other side reads it.
        until(self.end, flowing::HostOutputStream::drop(&mut *self.table, s))
    }
}
