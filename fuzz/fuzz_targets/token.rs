//! Any text is refused as a token without a panic: nobody here has the secret.
#![no_main]

use std::sync::{Arc, LazyLock};

use chassis::auth::{Config, Verifier};
use libfuzzer_sys::fuzz_target;

static VERIFIER: LazyLock<Arc<Verifier>> = LazyLock::new(|| {
    let secrets = vec!["a secret that the fuzzer does not have".into()];
    Verifier::new(Config { secrets, ..Config::default() }).expect("the configuration is good")
});

fuzz_target!(|token: &str| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    assert!(runtime.block_on(VERIFIER.verify(token)).is_err());
});
