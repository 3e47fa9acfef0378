//! The running job's own address: metrics for Prometheus, and whether it lives.

use actix_web::{App, HttpResponse, HttpServer, web};
use std::net::{SocketAddr, TcpListener};
use weir_core::metrics::Metrics;
use weir_core::{Error, Result};

async fn metrics(m: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(m.text())
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("live\n")
}

/// Serves `/metrics` and `/health/live` on a thread of its own, as long as the process lives. Gives the address, which
/// differs from the one asked for when that has port 0.
///
/// # Errors
/// When the address is taken or is not this machine's.
pub fn serve(address: &str, m: Metrics) -> Result<SocketAddr> {
    let fail = |e: std::io::Error| {
        Error::script(format!("cannot listen on {address}: {e}"))
            .hint("write it as 127.0.0.1:9249; port 0 takes any free one")
    };
    let listener = TcpListener::bind(address).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    let serve = move || {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(m.clone()))
                .route("/metrics", web::get().to(metrics))
                .route("/health/live", web::get().to(live))
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
