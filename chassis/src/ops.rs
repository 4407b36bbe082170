//! Health, metrics and profiles over HTTP.
//!
//! Three things a service mounts: [`health_router`] on its public port, [`metrics_router`] on the
//! port only operators reach, and [`Requests`] around its routes, which measures them. What makes a
//! service ready is given by the service, as [`Check`]s; nothing here knows what it serves.

mod health;
mod metrics;
mod profile;
mod requests;

pub use health::{Check, Connections, Health, Status, health_router};
pub use metrics::metrics_router;
pub use requests::Requests;
