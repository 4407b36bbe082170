//! Variables of the production guide whose work belongs to later versions.
//!
//! They are read and validated now, so that a deployment's settings are checked whole and a wrong
//! one is found before the version that uses it; setting one gives a warning at start. What must
//! not be promised is refused: end-to-end encryption cannot be required while nobody delivers it.

use chassis::config::kind::Rule;
use chassis::config::{Fallback, Kind, Problem, Reader, Section, Var, secret};
use secrecy::SecretString;

use super::auth;

const GRPC: &str = "the gRPC door comes later";
const TRACES: &str = "traces come later";

/// The gRPC door.
pub static GRPC_PORT: Var =
    Var::new("GRPC_PORT", Kind::Port, Fallback::Value("50051"), "gRPC for the gateway.")
        .later(GRPC);

/// Whether traces are sent.
pub static TRACING_ENABLED: Var = Var::new(
    "TRACING_ENABLED",
    Kind::Flag,
    Fallback::Value("false"),
    "Whether traces are sent to JAEGER_ENDPOINT.",
)
.later(TRACES);

/// Where traces go.
pub static JAEGER_ENDPOINT: Var = Var::new(
    "JAEGER_ENDPOINT",
    Kind::Url(&["http", "https"]),
    Fallback::Unset,
    "Where traces are sent.",
)
.later(TRACES);

/// Where errors are reported.
pub static SENTRY_DSN: Var = Var::new(
    "SENTRY_DSN",
    Kind::Url(&["https", "http"]),
    Fallback::Unset,
    "Where errors are reported.",
)
.secret()
.later("errors are logged, reporting them comes later");

/// Encrypts data at rest.
pub static ENCRYPTION_KEY: Var = Var::new(
    "ENCRYPTION_KEY",
    Kind::Text(Rule {
        takes: "32 bytes, as 32 characters, 64 hexadecimal digits or base64",
        accepts: secret::is_key_256,
        bad: "too-short",
    }),
    Fallback::Unset,
    "Encrypts data at rest with AES-256-GCM.",
)
.secret()
.later("what is stored is not encrypted");

/// Whether messages are judged.
pub static MODERATION_ENABLED: Var = Var::new(
    "MODERATION_ENABLED",
    Kind::Flag,
    Fallback::Value("false"),
    "Whether messages are judged before they are delivered.",
)
.later("messages are delivered unjudged");

/// Whether messages are encrypted from end to end.
pub static E2E_ENCRYPTION: Var = Var::new(
    "E2E_ENCRYPTION",
    Kind::Choice(&["off", "optional", "required"]),
    Fallback::Value("off"),
    "End-to-end encryption; until its delivery service exists, optional starts with a warning, \
     required is refused and `keys.*` answers 108.",
)
.later("keys cannot be exchanged");

/// The variables of this file.
pub const SECTION: Section = Section {
    title: "Not yet at work",
    variables: &[
        &GRPC_PORT,
        &TRACING_ENABLED,
        &JAEGER_ENDPOINT,
        &SENTRY_DSN,
        &ENCRYPTION_KEY,
        &MODERATION_ENABLED,
        &E2E_ENCRYPTION,
    ],
};

/// Validates every one of them and warns of those that are set; gives the key, which nodes compare.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<SecretString> {
    let mut key = None;
    for var in SECTION.variables {
        match var.name {
            "ENCRYPTION_KEY" => key = read_encryption_key(reader),
            "E2E_ENCRYPTION" => read_end_to_end(reader),
            _ => reader.later(var),
        }
    }
    key
}

fn read_encryption_key(reader: &mut Reader<'_>) -> Option<SecretString> {
    let key = auth::read_secret(reader, &ENCRYPTION_KEY);
    reader.warn_unused(&ENCRYPTION_KEY);
    key
}

fn read_end_to_end(reader: &mut Reader<'_>) {
    match reader.get::<String>(&E2E_ENCRYPTION).as_str() {
        "required" => {
            let takes = "off or optional: this version cannot deliver keys".to_owned();
            let got = E2E_ENCRYPTION.shown("required");
            reader.refuse(&E2E_ENCRYPTION, Problem::Invalid { got, takes });
        }
        "optional" => reader.warn_unused(&E2E_ENCRYPTION),
        _ => {}
    }
}
