//! Access control. It is applied before any part of a request's body is read.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HOST};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use std::net::IpAddr;

/// The conditions that a request must meet.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// Whether the address is only reachable from this machine.
    pub loopback: bool,
    /// The host name of the configured address.
    pub name: String,
    /// The token that requests for changes must have.
    pub token: String,
}

pub(crate) fn refusal(status: StatusCode, message: &str, hint: Option<&str>) -> HttpResponse {
    HttpResponse::build(status).json(json!({"error": message, "hint": hint}))
}

/// Compares two byte strings in a time that does not reveal where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// The host name in a `Host` header, without its port.
fn name_of(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.trim_end_matches('.')
}

impl Guard {
    /// Whether the request names this machine as its host. A page of another site whose name was made to resolve to this machine (DNS
    /// rebinding) uses that name. Headers of proxies (`Forwarded`, `X-Forwarded-Host`) are ignored, since any client can send them.
    fn is_own(&self, request: &HttpRequest) -> bool {
        let mut hosts = request.headers().get_all(HOST).map(|h| h.to_str().unwrap_or_default());
        // A browser always sends a host; an HTTP/1.0 client need not. With two hosts it is ambiguous which one counts.
        let (host, None) = (hosts.next(), hosts.next()) else { return false };
        // A request line may contain an absolute address, which then counts. Both must be right.
        let names = [host, request.uri().host()];
        names.into_iter().flatten().map(name_of).all(|name| {
            name.eq_ignore_ascii_case("localhost")
                || name.eq_ignore_ascii_case(&self.name)
                || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    }

    /// The response that refuses the request, if it is refused.
    fn refuses(&self, request: &HttpRequest) -> Option<HttpResponse> {
        let given = request.headers().get(AUTHORIZATION).and_then(|h| h.to_str().ok());
        let given = given.and_then(|h| h.strip_prefix("Bearer "));
        if given.is_some_and(|g| same(g.as_bytes(), self.token.as_bytes())) {
            return None;
        }
        if self.loopback && !self.is_own(request) {
            let why = "the request is for another host";
            let hint = "ask for localhost, or send the token: Authorization: Bearer TOKEN";
            return Some(refusal(StatusCode::FORBIDDEN, why, Some(hint)));
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        (!reads).then(|| {
            let hint = "send Authorization: Bearer TOKEN; the token is that of WEIR_TOKEN, or in the file 'token' in the job's state folder";
            refusal(StatusCode::UNAUTHORIZED, "the token is missing or wrong", Some(hint))
        })
    }
}

/// Passes a request on, or refuses it.
pub(crate) async fn guarded(
    guard: actix_web::web::Data<Guard>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match guard.refuses(request.request()) {
        Some(answer) => Ok(request.into_response(answer)),
        None => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn status(guard: &Guard, method: Method, headers: &[(&'static str, &'static str)]) -> Option<u16> {
        let request = headers.iter().fold(TestRequest::default().method(method), |r, h| r.append_header(*h));
        guard.refuses(&request.to_http_request()).map(|a| a.status().as_u16())
    }

    #[test]
    fn only_own_names_and_the_token_open() {
        let guard = Guard { loopback: true, name: "127.0.0.1".into(), token: "let me in".into() };
        let token = ("Authorization", "Bearer let me in");
        for own in ["localhost", "LOCALHOST:9249", "127.0.0.1:9249", "127.1.2.3", "[::1]:9249", "localhost."] {
            assert_eq!(status(&guard, Method::GET, &[("Host", own)]), None, "{own}");
            assert_eq!(status(&guard, Method::POST, &[("Host", own)]), Some(401), "{own}");
            assert_eq!(status(&guard, Method::POST, &[("Host", own), token]), None, "{own}");
        }
        for other in
            ["evil.example", "evil.example:9249", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""]
        {
            let forwarded = [("Host", other), ("X-Forwarded-Host", "localhost"), ("Forwarded", "host=localhost")];
            assert_eq!(status(&guard, Method::GET, &forwarded), Some(403), "{other}");
            assert_eq!(status(&guard, Method::POST, &forwarded), Some(403), "{other}");
        }
        assert_eq!(status(&guard, Method::GET, &[]), None);
        assert_eq!(status(&guard, Method::GET, &[("Host", "localhost"), ("Host", "evil.example")]), Some(403));
        let wrong = ("Authorization", "Bearer let me out");
        assert_eq!(status(&guard, Method::DELETE, &[("Host", "localhost"), wrong]), Some(401));
    }

    #[test]
    fn an_address_for_all_is_read_by_any_name() {
        let guard = Guard { loopback: false, name: "0.0.0.0".into(), token: "let me in".into() };
        assert_eq!(status(&guard, Method::GET, &[("Host", "job.example")]), None);
        assert_eq!(status(&guard, Method::POST, &[("Host", "job.example")]), Some(401));
    }
}
