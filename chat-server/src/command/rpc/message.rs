use super::{Call, Refusal, unknown_method};
use crate::protocol::Json;

pub(super) async fn call(_call: &Call<'_>, _verb: &str) -> Result<Json, Refusal> {
    Err(unknown_method())
}
