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
mod handles;
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
pub use handles::{Handles, NoHandles, first as first_handle};

use self::decode::{Checked, Decoder};
use crate::plan::{InputPlan, MethodPlan, OutputPlan};

/// The parameters of a method's function, from the bytes of its request.
///
/// Fails with [`Fault::BadInput`] on the first field that breaks the contract, or with
/// [`Fault::Limit`] before the values would take more than `budget` allows.
pub fn decode_request(
    plan: &MethodPlan,
    bytes: &[u8],
    budget: &mut CopyBudget,
) -> Result<Vec<Val>, Fault> {
    decode_request_with(plan, bytes, budget, &mut NoHandles)
}

/// The same where handles lead to resources; fails as `handles` does where one leads to none.
pub fn decode_request_with(
    plan: &MethodPlan,
    bytes: &[u8],
    budget: &mut CopyBudget,
    handles: &mut dyn Handles,
) -> Result<Vec<Val>, Fault> {
    Ok(Decoder::<Val>::new(budget, handles).parameters(&plan.request, bytes)?)
}

/// Whether a request without handles keeps the contract; fails on the same field as
/// [`decode_request`] with the same [`Fault::BadInput`].
///
/// It makes no values. It takes from `budget` for the entries of maps and for messages that come in
/// parts, which it keeps while it reads, and a little for each field that a message may have: so its
/// time is bounded, too.
pub fn check_request(
    plan: &MethodPlan,
    bytes: &[u8],
    budget: &mut CopyBudget,
) -> Result<(), Fault> {
    Decoder::<Checked>::new(budget, &mut NoHandles).parameters(&plan.request, bytes)?;
    Ok(())
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
    encode_response_with(plan, results, output_limit, budget, &mut NoHandles)
}

/// The same where resources get handles.
pub fn encode_response_with(
    plan: &MethodPlan,
    results: &[Val],
    output_limit: u64,
    budget: &mut CopyBudget,
    handles: &mut dyn Handles,
) -> Result<Bytes, EncodeError> {
    let to = back::BackWriter::new(output_limit, budget);
    let mut encoder = encode::Encoder::new(to, handles);
    encoder.response(&plan.response, results)?;
    Ok(encoder.finish())
}

/// The bytes of a request, from the parameters that a caller's own function was given; the other side
/// of [`decode_request`]. Stops as soon as `budget` does not allow them.
pub fn encode_request(
    plan: &MethodPlan,
    params: &[Val],
    budget: &mut CopyBudget,
) -> Result<Bytes, EncodeError> {
    let to = back::BackWriter::new(u64::MAX, budget);
    let mut handles = NoHandles;
    let mut encoder = encode::Encoder::new(to, &mut handles);
    encoder.request(&plan.request, params)?;
    Ok(encoder.finish())
}

/// The results of a method's function, from the bytes of its response; the other side of
/// [`encode_response`]. Fails like [`decode_request`]: whoever answered may have written anything.
pub fn decode_response(
    plan: &MethodPlan,
    bytes: &[u8],
    budget: &mut CopyBudget,
) -> Result<Vec<Val>, Fault> {
    Ok(Decoder::<Val>::new(budget, &mut NoHandles).results(&plan.response, bytes)?)
}

/// What one of the messages of a stream of requests holds.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamRequest {
    /// The parameters beside the stream.
    Start(Vec<Val>),
    Item(Val),
    /// Bytes of a `stream<u8>`: a part of the message that was read.
    Chunk(Bytes),
}

/// Reads one message of a stream of requests; fails like [`decode_request`].
pub fn decode_stream_request(
    plan: &InputPlan,
    bytes: &Bytes,
    budget: &mut CopyBudget,
) -> Result<StreamRequest, Fault> {
    Ok(Decoder::<Val>::new(budget, &mut NoHandles).stream_request(plan, bytes)?)
}

/// What one of the messages of a stream of responses says.
#[derive(Debug, Clone, Copy)]
pub enum StreamResponse<'a> {
    Item(&'a Val),
    /// The payload of the error that the function ends with.
    Error(&'a Option<Box<Val>>),
}

/// The bytes of one message of a stream of responses, within the bounds of [`encode_response`].
pub fn encode_stream_response(
    plan: &OutputPlan,
    response: StreamResponse<'_>,
    output_limit: u64,
    budget: &mut CopyBudget,
) -> Result<Bytes, EncodeError> {
    let to = back::BackWriter::new(output_limit, budget);
    let mut handles = NoHandles;
    let mut encoder = encode::Encoder::new(to, &mut handles);
    match response {
        StreamResponse::Item(item) => encoder.item(plan, item)?,
        StreamResponse::Error(error) => encoder.error(plan, error)?,
    }
    Ok(encoder.finish())
}

/// What stands before the bytes of a chunk of a `stream<u8>` in its message.
pub fn encode_chunk_header(plan: &OutputPlan, length: usize) -> Result<Bytes, EncodeError> {
    let mut budget = CopyBudget::new(u64::MAX);
    let to = back::BackWriter::new(u64::MAX, &mut budget);
    let mut handles = NoHandles;
    let mut encoder = encode::Encoder::new(to, &mut handles);
    encoder.chunk_header(plan, length)?;
    Ok(encoder.finish())
}
