//! The operator's routes: text for Prometheus, profiles that decode.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use flate2::read::GzDecoder;
use http::Request;
use http_body_util::BodyExt;
use pprof::protos::{Message, Profile};
use tower::ServiceExt;

use super::*;
use crate::telemetry::{Config, logs};

/// There is one profiler in the process, and these tests run in parallel.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn router() -> Router {
    let config = Config {
        service: "test".to_owned(),
        version: "1".to_owned(),
        memory_limit_bytes: 1 << 30,
        log_filter: "off".to_owned(),
        log_format: logs::Format::Json,
    };
    metrics_router(Handles::detached(&config, &[]).unwrap())
}

async fn get(router: Router, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

fn decode(gzipped: &[u8]) -> Profile {
    let mut encoded = Vec::new();
    GzDecoder::new(gzipped).read_to_end(&mut encoded).unwrap();
    Profile::decode(encoded.as_slice()).unwrap()
}

fn sample_types(profile: &Profile) -> Vec<&str> {
    let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
    profile.sample_type.iter().map(|kind| text(kind.ty)).collect()
}

fn total(profile: &Profile) -> i64 {
    profile.sample.iter().map(|sample| sample.value[0]).sum()
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let (status, body) = get(router(), "/metrics").await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("build_info{") && text.contains("process_open_fds "), "{text}");
}

#[tokio::test]
async fn the_heap_profile_shows_what_is_held_and_the_other_what_was_ever_allocated() {
    let _alone = ONE_AT_A_TIME.lock().await;
    const FREED: usize = 512 << 20;
    drop(vec![1u8; FREED]);
    let held = vec![1u8; 8 << 20];
    let (status, body) = get(router(), "/debug/pprof/heap").await;
    assert_eq!(status, StatusCode::OK);
    let heap = decode(&body);
    let allocs = decode(&get(router(), "/debug/pprof/allocs").await.1);
    assert_eq!(held.len(), 8 << 20);
    assert_eq!(sample_types(&heap), ["inuse_space"]);
    assert_eq!(sample_types(&allocs), ["alloc_space"]);
    assert!(total(&heap) > 0 && !heap.function.is_empty());
    let freed = i64::try_from(FREED).unwrap();
    assert!(total(&allocs) > total(&heap) + freed / 2, "{} {}", total(&allocs), total(&heap));
}

#[tokio::test]
async fn a_cpu_profile_decodes_pauses_heap_sampling_and_excludes_a_second_one() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let router = router();
    let first = get(router.clone(), "/debug/pprof/profile?seconds=1");
    let second = async {
        // The first one is polled before this: it holds the lock and sampling is paused.
        assert!(!alloc::is_sampling());
        get(router.clone(), "/debug/pprof/profile?seconds=1").await
    };
    let finished = Arc::new(AtomicBool::new(false));
    let busy = Arc::clone(&finished);
    let burn = spawn_blocking(move || {
        let mut sum = 0u64;
        while !busy.load(Ordering::Relaxed) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        sum
    });
    let first = async {
        let answer = first.await;
        finished.store(true, Ordering::Relaxed);
        answer
    };
    let ((status, body), (conflict, _), burnt) = tokio::join!(biased; first, second, burn);
    assert_eq!((status, conflict), (StatusCode::OK, StatusCode::CONFLICT));
    let profile = decode(&body);
    assert_eq!(sample_types(&profile), ["samples", "cpu"]);
    assert!(total(&profile) > 0 && burnt.is_ok());
    assert!(alloc::is_sampling());
}

#[tokio::test]
async fn a_profile_without_bounds_is_refused() {
    for query in ["seconds=0", "seconds=61", "seconds=long"] {
        let (status, _) = get(router(), &format!("/debug/pprof/profile?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
}
