//! Messages of the measured functions, generated from the guests' WIT as the host derives them, and
//! a codec that leaves messages as bytes: what the client decodes would hide what servers cost.

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Moving values.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    reason = "generated code keeps its generator's style"
)]
pub(crate) mod transfer {
    include!("gen/bench.work.transfer.v0_1.rs");
}

/// Work for the processor.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    reason = "generated code keeps its generator's style"
)]
pub(crate) mod compute {
    include!("gen/bench.work.compute.v0_1.rs");
}

/// What lives on between calls.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    reason = "generated code keeps its generator's style"
)]
pub(crate) mod session {
    include!("gen/bench.session.session.v0_1.rs");
}

/// Streams.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    reason = "generated code keeps its generator's style"
)]
pub(crate) mod flow {
    include!("gen/bench.flow.flow.v0_1.rs");
}

/// Leaves messages as they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
