//! Measures HTTP requests, from their arrival to the head of the response.
//!
//! The route is the pattern that matched, never the path, so that the series stay few; what no
//! route matched is `unmatched`. Endpoints that hold a connection open are left out: how long
//! somebody listens is not a latency.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::Method;
use metrics::{counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

use crate::telemetry::Handles;

const DURATION: &str = "http_request_duration_seconds";
const REQUESTS: &str = "http_requests_total";
const ERRORS: &str = "http_errors_total";

/// A route every service has: its series stands at zero from the first scrape on.
const FIRST_ROUTE: &str = "/health/live";

/// Measures the requests of a router; clones count together.
#[derive(Debug, Clone)]
pub struct Requests {
    handles: Handles,
    unmeasured: &'static [&'static str],
}

/// The labels of one series.
#[derive(Debug)]
struct Labels {
    method: &'static str,
    route: String,
    status: String,
}

impl Requests {
    /// Counts into `handles`; routes that begin with one of `unmeasured` are left out.
    #[must_use]
    pub fn new(handles: &Handles, unmeasured: &'static [&'static str]) -> Self {
        handles.register(|| {
            describe_histogram!(
                DURATION,
                "From a request's arrival to the head of its response, in seconds."
            );
            describe_counter!(REQUESTS, "HTTP requests answered.");
            describe_counter!(ERRORS, "HTTP requests answered with a status of 500 or more.");
            let first = || Labels::new("GET", FIRST_ROUTE, 200);
            drop(first().histogram());
            first().counter().increment(0);
            counter!(ERRORS).increment(0);
        });
        Self { handles: handles.clone(), unmeasured }
    }

    /// The same router, measured.
    pub fn around<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.layer(from_fn_with_state(self, measure))
    }

    fn record(&self, labels: impl Fn() -> Labels, status: u16, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        self.handles.register(|| {
            labels().histogram().record(seconds);
            labels().counter().increment(1);
            if status >= 500 {
                counter!(ERRORS).increment(1);
            }
        });
    }
}

impl Labels {
    fn new(method: &'static str, route: &str, status: u16) -> Self {
        Self { method, route: route.to_owned(), status: status.to_string() }
    }

    fn histogram(self) -> metrics::Histogram {
        histogram!(
            DURATION, "method" => self.method, "route" => self.route, "status" => self.status
        )
    }

    fn counter(self) -> metrics::Counter {
        counter!(REQUESTS, "method" => self.method, "route" => self.route, "status" => self.status)
    }
}

async fn measure(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str).to_owned();
    if requests.unmeasured.iter().any(|prefix| route.starts_with(prefix)) {
        return next.run(request).await;
    }
    let method = method_label(request.method());
    let since = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    requests.record(|| Labels::new(method, &route, status), status, since);
    response
}

/// The method, as long as it is one of those a router can be asked for: others are made up by
/// clients, without end.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::{Config, logs};

    async fn scrape_after(requests: &[(&str, &str)]) -> String {
        let config = Config {
            service: "test".to_owned(),
            version: "1".to_owned(),
            memory_limit_bytes: 1 << 30,
            log_filter: "off".to_owned(),
            log_format: logs::Format::Json,
        };
        let handles = Handles::detached(&config, &[]).unwrap();
        let router = Router::new()
            .route("/item/{id}", get(|| async { "ok" }))
            .route("/broken", get(|| async { StatusCode::BAD_GATEWAY }))
            .route("/connection/websocket", get(|| async { "open" }));
        let router: Router = Requests::new(&handles, &["/connection/"]).around(router);
        for (method, path) in requests {
            let request = Request::builder().method(*method).uri(*path).body(Body::empty());
            router.clone().oneshot(request.unwrap()).await.unwrap();
        }
        handles.render()
    }

    fn assert_line(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }

    #[tokio::test]
    async fn the_guides_series_exist_before_the_first_request() {
        let text = scrape_after(&[]).await;
        let labels = "method=\"GET\",route=\"/health/live\",status=\"200\"";
        assert_line(&text, &format!("http_requests_total{{{labels}}} 0"));
        assert_line(&text, &format!("http_request_duration_seconds_count{{{labels}}} 0"));
        assert_line(&text, "http_errors_total 0");
        assert!(text.contains("http_request_duration_seconds_bucket{"), "{text}");
    }

    #[tokio::test]
    async fn requests_count_under_their_route_and_errors_apart() {
        let calls = [("GET", "/item/1"), ("GET", "/item/2"), ("GET", "/broken"), ("BREW", "/x")];
        let text = scrape_after(&calls).await;
        let item = "method=\"GET\",route=\"/item/{id}\",status=\"200\"";
        assert_line(&text, &format!("http_requests_total{{{item}}} 2"));
        assert_line(&text, &format!("http_request_duration_seconds_count{{{item}}} 2"));
        let unmatched = "method=\"OTHER\",route=\"unmatched\",status=\"404\"";
        assert_line(&text, &format!("http_requests_total{{{unmatched}}} 1"));
        assert_line(&text, "http_errors_total 1");
    }

    #[tokio::test]
    async fn endpoints_that_hold_a_connection_are_not_measured() {
        let text = scrape_after(&[("GET", "/connection/websocket")]).await;
        assert!(!text.contains("/connection/"), "{text}");
    }
}
