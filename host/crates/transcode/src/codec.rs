//! Between protobuf's bytes and component values, with nothing in between.
//!
//! Bytes come from callers and values from guests. Neither can make this code panic, recurse
//! without a bound, allocate before the call's budget allows it, or take more than linear time
//! (but for sorting the keys of maps). Requests are read as protobuf's own parsers read proto3,
//! then checked against what WIT types demand beyond that.

mod back;
mod budget;
mod decode;
mod encode;
mod key;
mod scalar;
mod skim;
mod slot;
mod violation;
mod wire;

use bytes::Bytes;
use roadstead_domain::Fault;
use wasmtime::component::Val;

pub use budget::CopyBudget;
pub use encode::EncodeError;

use crate::plan::MethodPlan;

/// The parameters of a method's function, from the bytes of its request.
///
/// Fails with [`Fault::BadInput`] on the first field that breaks the contract, or with
/// [`Fault::Limit`] before the values would take more than `budget` allows.
pub fn decode_request(
    plan: &MethodPlan,
    bytes: &[u8],
    budget: &mut CopyBudget,
) -> Result<Vec<Val>, Fault> {
    Ok(decode::Decoder::new(budget).parameters(&plan.request, bytes)?)
}

/// The bytes of a method's response, from the results of its function.
///
/// Stops as soon as they would be more than `output_limit` or than `budget` allows.
pub fn encode_response(
    plan: &MethodPlan,
    results: &[Val],
    output_limit: u64,
    budget: &mut CopyBudget,
) -> Result<Bytes, EncodeError> {
    let mut encoder = encode::Encoder::new(back::BackWriter::new(output_limit, budget));
    encoder.response(&plan.response, results)?;
    Ok(encoder.finish())
}
