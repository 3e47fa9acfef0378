//! The HTTP server of a running job: metrics for Prometheus, health checks, and an interface to inspect and control the job.
//!
//! Everyone who can reach the address may read. Changes require the token.

mod guard;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpMessage, HttpRequest, HttpResponse, HttpServer, web};
use guard::{Guard, refusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use weir_core::error::ErrorKind;
use weir_core::{Error, Result};

/// Maximum number of concurrent connections. Further ones wait.
const CONNECTIONS: usize = 64;
/// The number of file handles that the server needs to start.
const HANDLES: usize = 24;
/// The time limit for receiving a request's head, and then its body.
const SENDING: Duration = Duration::from_secs(5);
/// Maximum size of a request's body in bytes.
const LARGEST: usize = 64 << 10;

/// The interface of the job for the server.
pub trait JobControl: Send + Sync {
    /// All metrics as text.
    fn metrics(&self) -> String;
    /// Checks whether rows can flow.
    ///
    /// # Errors
    /// The reason why they cannot.
    fn ready(&self) -> std::result::Result<(), String>;
    /// Describes the job: graph, rates, times, epochs, hints, last failure.
    fn describe(&self) -> Value;
    /// Finishes the epoch and stops the job.
    fn stop(&self);
    /// Writes a savepoint into a folder or bucket.
    ///
    /// # Errors
    /// If it cannot be written.
    fn savepoint(&self, target: &str) -> Result<Value>;
    /// Changes parallelisms by operator name. None resets an operator to the parallelism of the script.
    ///
    /// # Errors
    /// If the job cannot have these parallelisms.
    fn scale(&self, wanted: BTreeMap<String, Option<usize>>) -> Result<Value>;
}

type State = web::Data<dyn JobControl>;

fn failed(e: &Error) -> HttpResponse {
    // The request is valid, but the job cannot fulfil it in its present state.
    let status = match e.kind {
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::CONFLICT,
    };
    refusal(status, &e.message, e.hint.as_deref())
}

async fn metrics(s: State) -> HttpResponse {
    let text = web::block(move || s.metrics()).await.unwrap_or_default();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

async fn ready(s: State) -> HttpResponse {
    match s.ready() {
        Ok(()) => HttpResponse::Ok().json(json!({"status": "ready"})),
        Err(why) => HttpResponse::ServiceUnavailable().json(json!({"status": "waiting", "reason": why})),
    }
}

async fn describe(s: State) -> HttpResponse {
    HttpResponse::Ok().json(s.describe())
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(include_str!("openapi.json"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Savepoint {
    target: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    /// In JSON, 4.0 is an integer too.
    operators: BTreeMap<String, Option<f64>>,
}

/// Reads the JSON body of a request, within the limits [`SENDING`] and [`LARGEST`].
async fn sent<T: DeserializeOwned>(
    request: &HttpRequest,
    body: web::Payload,
) -> std::result::Result<T, Box<HttpResponse>> {
    let hint = Some("send JSON, with Content-Type: application/json");
    let refused = |status, why: &str| Err(Box::new(refusal(status, why, hint)));
    if request.mime_type().ok().flatten().is_none_or(|m| m.essence_str() != "application/json") {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request is not JSON");
    }
    let bytes = match timeout(SENDING, body.to_bytes_limited(LARGEST)).await {
        Ok(Ok(Ok(bytes))) => bytes,
        Ok(Ok(Err(e))) => return refused(StatusCode::BAD_REQUEST, &e.to_string()),
        Ok(Err(_)) => return refused(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the request did not come in time"),
    };
    serde_json::from_slice(&bytes).or_else(|e| refused(StatusCode::BAD_REQUEST, &e.to_string()))
}

async fn stop(s: State, request: HttpRequest, body: web::Payload) -> HttpResponse {
    if let Err(no) = sent::<Nothing>(&request, body).await {
        return *no;
    }
    s.stop();
    HttpResponse::Accepted().json(json!({"status": "stopping"}))
}

/// Runs slow work on a separate thread.
async fn at_leisure(work: impl FnOnce() -> Result<Value> + Send + 'static) -> HttpResponse {
    match web::block(work).await {
        Ok(Ok(v)) => HttpResponse::Ok().json(v),
        Ok(Err(e)) => failed(&e),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is ending", None),
    }
}

async fn savepoint(s: State, request: HttpRequest, body: web::Payload) -> HttpResponse {
    match sent::<Savepoint>(&request, body).await {
        Err(no) => *no,
        Ok(asked) if asked.target.trim().is_empty() => {
            refusal(StatusCode::BAD_REQUEST, "the target is empty", Some("a folder, or s3://bucket/prefix"))
        }
        Ok(asked) => at_leisure(move || s.savepoint(&asked.target)).await,
    }
}

async fn scale(s: State, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let asked = match sent::<Scale>(&request, body).await {
        Err(no) => return *no,
        Ok(asked) => asked.operators,
    };
    let whole = |n: f64| (n.fract() == 0.0 && (1.0..=64.0).contains(&n)).then_some(n as usize);
    let wanted = asked.into_iter().map(|(name, n)| match n {
        None => Some((name, None)),
        Some(n) => whole(n).map(|n| (name, Some(n))),
    });
    match wanted.collect::<Option<BTreeMap<_, _>>>() {
        Some(wanted) => at_leisure(move || s.scale(wanted)).await,
        None => refusal(StatusCode::BAD_REQUEST, "a parallelism is a whole number from 1 to 64", None),
    }
}

fn routes(config: &mut web::ServiceConfig) {
    let only = |resource: actix_web::Resource, allowed: &'static str| {
        resource.default_service(web::to(move || async move {
            HttpResponse::MethodNotAllowed()
                .insert_header(("Allow", allowed))
                .json(json!({"error": format!("only {allowed} is taken here"), "hint": null}))
        }))
    };
    let get = |path: &str| only(web::resource(path), "GET");
    let post = |path: &str| only(web::resource(path), "POST");
    config
        .service(get("/metrics").route(web::get().to(metrics)))
        .service(get("/health/live").route(web::get().to(live)))
        .service(get("/health/ready").route(web::get().to(ready)))
        .service(get("/api/v1/openapi.json").route(web::get().to(openapi)))
        .service(get("/api/v1/job").route(web::get().to(describe)))
        .service(post("/api/v1/job/stop").route(web::post().to(stop)))
        .service(post("/api/v1/job/savepoint").route(web::post().to(savepoint)))
        .service(post("/api/v1/job/scale").route(web::post().to(scale)))
        .default_service(web::to(|| async {
            refusal(
                StatusCode::NOT_FOUND,
                "there is nothing here",
                Some("/api/v1/openapi.json describes what there is"),
            )
        }));
}

/// Serves a job on a separate thread until the process ends. Returns the actual address, which has another port if port 0 was requested.
/// All changes require the token.
///
/// # Errors
/// If the address is in use, or does not belong to this machine.
pub fn serve(address: &str, job: Arc<dyn JobControl>, token: String) -> Result<SocketAddr> {
    let fail = |e: std::io::Error| match e.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => Error::io(format!("cannot listen on {address}"))
            .caused_by(e)
            .hint("raise the limit of open files (ulimit -n)"),
        _ => Error::script(format!("cannot listen on {address}"))
            .caused_by(e)
            .hint("write it as 127.0.0.1:9249; port 0 takes any free one"),
    };
    let listener = TcpListener::bind(address).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    let name = address.rsplit_once(':').map_or(address, |(name, _)| name).trim_matches(['[', ']']).to_string();
    let guard = web::Data::new(Guard { loopback: bound.ip().is_loopback(), name, token });
    let job = web::Data::from(job);
    // System resources are requested here, where a failure is an error. The threads of the server would panic.
    let room = (0..HANDLES).map(|_| std::fs::File::open("/dev/null")).collect::<std::io::Result<Vec<_>>>();
    drop(room.map_err(fail)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    let serve = move || {
        let server = HttpServer::new(move || {
            App::new().wrap(from_fn(guard::guarded)).app_data(guard.clone()).app_data(job.clone()).configure(routes)
        })
        .workers(1)
        .max_connections(CONNECTIONS)
        .client_request_timeout(SENDING)
        .client_disconnect_timeout(SENDING)
        .disable_signals()
        .listen(listener);
        match server {
            Ok(s) => {
                if let Err(e) = actix_web::rt::System::with_tokio_rt(|| runtime).block_on(s.run()) {
                    tracing::error!("the HTTP server ended: {e}");
                }
            }
            Err(e) => tracing::error!("the HTTP server did not start: {e}"),
        }
    };
    std::thread::Builder::new().name("weir-http".to_string()).spawn(serve).map_err(fail)?;
    Ok(bound)
}
