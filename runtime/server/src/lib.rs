//! The running job's own address: metrics for Prometheus, its health, and an interface to look at it and to steer it.
//!
//! Reading is free for whoever reaches the address. What changes something takes JSON, so that no web page of elsewhere can send
//! it, and wants the token where the address is not this machine's alone.

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, error, web};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use weir_core::error::Kind;
use weir_core::{Error, Result};

/// What the address shows, and what can be asked of it.
pub trait Job: Send + Sync {
    /// All metrics as text.
    fn metrics(&self) -> String;
    /// Whether rows can flow.
    ///
    /// # Errors
    /// What is in the way.
    fn ready(&self) -> std::result::Result<(), String>;
    /// The job: graph, rates, times, epochs, hints, last failure.
    fn describe(&self) -> Value;
    /// Finish the epoch and leave.
    fn stop(&self);
    /// Write a savepoint into a folder or bucket.
    ///
    /// # Errors
    /// When it cannot be written.
    fn savepoint(&self, target: &str) -> Result<Value>;
    /// Change parallelisms by the operators' names; none takes the script's again.
    ///
    /// # Errors
    /// When the job cannot have them so.
    fn scale(&self, wanted: BTreeMap<String, Option<usize>>) -> Result<Value>;
}

#[derive(Clone)]
struct Shared {
    job: Arc<dyn Job>,
    loopback: bool,
    token: Option<String>,
}

type State = web::Data<Shared>;

fn refusal(status: StatusCode, message: &str, hint: Option<&str>) -> HttpResponse {
    HttpResponse::build(status).json(json!({"error": message, "hint": hint}))
}

fn failed(e: &Error) -> HttpResponse {
    // What was sent is as described: it is the job, as it stands, that cannot do it.
    let status = match e.kind {
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::CONFLICT,
    };
    refusal(status, &e.message, e.hint.as_deref())
}

/// Equal or not, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// Why a change is not allowed, if it is not.
fn denied(state: &Shared, request: &HttpRequest) -> Option<HttpResponse> {
    let Some(token) = &state.token else {
        let hint = "set WEIR_TOKEN for the job, and send it: Authorization: Bearer …";
        let why = "changes are taken on the loopback address only, unless there is a token";
        // A page of elsewhere whose name was made to lead here is known by that name.
        let info = request.connection_info();
        let host = info.host().rsplit_once(':').map_or(info.host(), |(host, _)| host).trim_matches(['[', ']']);
        let own = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        return (!state.loopback || !own).then(|| refusal(StatusCode::FORBIDDEN, why, Some(hint)));
    };
    let given = request.headers().get(AUTHORIZATION).and_then(|h| h.to_str().ok());
    match given.and_then(|h| h.strip_prefix("Bearer ")) {
        Some(g) if same(g.as_bytes(), token.as_bytes()) => None,
        _ => Some(refusal(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong",
            Some("Authorization: Bearer TOKEN"),
        )),
    }
}

async fn metrics(s: State) -> HttpResponse {
    let text = web::block(move || s.job.metrics()).await.unwrap_or_default();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live"}))
}

async fn ready(s: State) -> HttpResponse {
    match s.job.ready() {
        Ok(()) => HttpResponse::Ok().json(json!({"status": "ready"})),
        Err(why) => HttpResponse::ServiceUnavailable().json(json!({"status": "waiting", "reason": why})),
    }
}

async fn describe(s: State) -> HttpResponse {
    HttpResponse::Ok().json(s.job.describe())
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
    /// In JSON 4.0 is an integer too.
    operators: BTreeMap<String, Option<f64>>,
}

async fn stop(s: State, request: HttpRequest, _: web::Json<Nothing>) -> HttpResponse {
    if let Some(no) = denied(&s, &request) {
        return no;
    }
    s.job.stop();
    HttpResponse::Accepted().json(json!({"status": "stopping"}))
}

/// Does what takes its time on a thread of its own.
async fn at_leisure(work: impl FnOnce() -> Result<Value> + Send + 'static) -> HttpResponse {
    match web::block(work).await {
        Ok(Ok(v)) => HttpResponse::Ok().json(v),
        Ok(Err(e)) => failed(&e),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is ending", None),
    }
}

async fn savepoint(s: State, request: HttpRequest, body: web::Json<Savepoint>) -> HttpResponse {
    match denied(&s, &request) {
        Some(no) => no,
        None if body.target.trim().is_empty() => {
            refusal(StatusCode::BAD_REQUEST, "the target is empty", Some("a folder, or s3://bucket/prefix"))
        }
        None => at_leisure(move || s.job.savepoint(&body.target)).await,
    }
}

async fn scale(s: State, request: HttpRequest, body: web::Json<Scale>) -> HttpResponse {
    match denied(&s, &request) {
        Some(no) => no,
        None => {
            let whole = |n: f64| (n.fract() == 0.0 && (1.0..=64.0).contains(&n)).then_some(n as usize);
            let wanted = body.into_inner().operators.into_iter().map(|(name, n)| match n {
                None => Some((name, None)),
                Some(n) => whole(n).map(|n| (name, Some(n))),
            });
            match wanted.collect::<Option<BTreeMap<_, _>>>() {
                Some(wanted) => at_leisure(move || s.job.scale(wanted)).await,
                None => refusal(StatusCode::BAD_REQUEST, "a parallelism is a whole number from 1 to 64", None),
            }
        }
    }
}

fn unreadable(e: error::JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    let status = match &e {
        error::JsonPayloadError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        error::JsonPayloadError::Overflow { .. } | error::JsonPayloadError::OverflowKnownLength { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        _ => StatusCode::BAD_REQUEST,
    };
    let answer = refusal(status, &e.to_string(), Some("send JSON, with Content-Type: application/json"));
    error::InternalError::from_response(e, answer).into()
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

/// Serves a job on a thread of its own, as long as the process lives. Gives the address, which differs from the one asked for when
/// that has port 0. The token, if there is one, is asked for by everything that changes something.
///
/// # Errors
/// When the address is taken or is not this machine's.
pub fn serve(address: &str, job: Arc<dyn Job>, token: Option<String>) -> Result<SocketAddr> {
    let fail = |e: std::io::Error| {
        Error::script(format!("cannot listen on {address}: {e}"))
            .hint("write it as 127.0.0.1:9249; port 0 takes any free one")
    };
    let listener = TcpListener::bind(address).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    let shared = Shared { job, loopback: bound.ip().is_loopback(), token };
    let serve = move || {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(shared.clone()))
                .app_data(web::JsonConfig::default().limit(64 << 10).error_handler(unreadable))
                .configure(routes)
        })
        .workers(1)
        .disable_signals()
        .listen(listener);
        match server {
            Ok(s) => {
                if let Err(e) = actix_web::rt::System::new().block_on(s.run()) {
                    tracing::error!("the HTTP server ended: {e}");
                }
            }
            Err(e) => tracing::error!("the HTTP server did not start: {e}"),
        }
    };
    std::thread::Builder::new().name("weir-http".to_string()).spawn(serve).map_err(fail)?;
    Ok(bound)
}
