//! Bringing a database to this version: once, by whoever comes first, or not at all.

use crate::harness::{Stage, http, on_both_stores};

on_both_stores! {
    async fn a_server_starts_again_on_what_it_made(stage: Stage) {
        let mut stage = stage;
        for _ in 0..2 {
            stage = stage.restart().await;
            let ready = http::get(stage.addresses.http, "/health/ready", &[]).await;
            assert_eq!(ready.status, 200, "{}", ready.body);
        }
    }
}
