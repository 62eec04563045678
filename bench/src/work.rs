//! What is asked of every subject: one function of `bench/guests/wit/work.wit` with its arguments, as
//! messages and as the answer that must come. Pure.

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;

use crate::{
    flow::Flow,
    items, kernels,
    wire::{compute, transfer},
};

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    Floats,
    Strings,
    Records,
}

/// Where the list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
    Echo,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::In, Self::Out, Self::Echo];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Echo => "echo",
        }
    }
}

/// A kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Matrix,
    Collatz,
    Sieve,
}

impl Kernel {
    pub(crate) const ALL: [Self; 3] = [Self::Matrix, Self::Collatz, Self::Sieve];

    /// The function's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Collatz => "collatz",
            Self::Sieve => "sieve",
        }
    }

    /// Natively, here.
    pub(crate) fn run(self, size: u32) -> u64 {
        match self {
            Self::Matrix => kernels::matrix(size),
            Self::Collatz => kernels::collatz(size),
            Self::Sieve => kernels::sieve(size),
        }
    }
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Transfer { kind: Kind, way: Way, count: u32 },
    Compute { kernel: Kernel, size: u32 },
}

impl Work {
    /// The small call: sixteen bytes there and back.
    pub(crate) const SMALL: Self = Self::Transfer { kind: Kind::Bytes, way: Way::Echo, count: 16 };
}

/// What a caller repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Call(Work),
    Flow(Flow),
}

/// A call as it is sent, and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub path: PathAndQuery,
    pub request: Bytes,
    pub answer: Bytes,
}

impl Exchange {
    /// The messages of one call.
    ///
    /// # Errors
    /// Only for a path that is none, and the paths are written below.
    pub(crate) fn of(work: Work) -> anyhow::Result<Self> {
        let (service, rpc, request, answer) = match work {
            Work::Transfer { kind, way, count } => {
                let (rpc, request, answer) = transfer(kind, way, count);
                ("bench.work.transfer.v0_1.Transfer", rpc, request, answer)
            }
            Work::Compute { kernel, size } => {
                let (rpc, request, answer) = compute(kernel, size);
                ("bench.work.compute.v0_1.Compute", rpc, request, answer)
            }
        };
        let path = format!("/{service}/{rpc}").parse()?;
        Ok(Self { path, request: request.into(), answer: answer.into() })
    }

    /// Bytes of both messages.
    pub(crate) fn bytes(&self) -> usize {
        self.request.len() + self.answer.len()
    }
}

/// The rpc and both messages.
type Messages = (&'static str, Vec<u8>, Vec<u8>);

fn transfer(kind: Kind, way: Way, count: u32) -> Messages {
    use transfer as m;
    let (rpcs, list) = match kind {
        Kind::Bytes => {
            let items = items::bytes(count).into();
            (["BytesIn", "BytesOut", "BytesEcho"], m::BytesInRequest { items }.encode_to_vec())
        }
        Kind::Floats => {
            let items = items::floats(count);
            (["FloatsIn", "FloatsOut", "FloatsEcho"], m::FloatsInRequest { items }.encode_to_vec())
        }
        Kind::Strings => {
            let items = items::strings(count);
            let list = m::StringsInRequest { items }.encode_to_vec();
            (["StringsIn", "StringsOut", "StringsEcho"], list)
        }
        Kind::Records => {
            let items = readings(count);
            let list = m::RecordsInRequest { items }.encode_to_vec();
            (["RecordsIn", "RecordsOut", "RecordsEcho"], list)
        }
    };
    // A list alone and a count alone are the same bytes in every request and response: field 1.
    let count = m::BytesOutRequest { count }.encode_to_vec();
    let [rpc_in, out, echo] = rpcs;
    match way {
        Way::In => (rpc_in, list, count),
        Way::Out => (out, count, list),
        Way::Echo => (echo, list.clone(), list),
    }
}

/// So many readings.
pub(crate) fn readings(count: u32) -> Vec<transfer::Reading> {
    let reading = |sensor| transfer::Reading {
        sensor,
        name: items::TEXT.to_owned(),
        value: items::VALUE,
        valid: true,
    };
    (1..=count).map(reading).collect()
}

fn compute(kernel: Kernel, size: u32) -> Messages {
    use compute as m;
    let rpc = match kernel {
        Kernel::Matrix => "Matrix",
        Kernel::Collatz => "Collatz",
        Kernel::Sieve => "Sieve",
    };
    let answer = m::SieveResponse { value: kernel.run(size) };
    (rpc, m::SieveRequest { limit: size }.encode_to_vec(), answer.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_and_count_is_field_one() {
        let of = |kind, way| Exchange::of(Work::Transfer { kind, way, count: 3 }).unwrap();
        let sent = of(Kind::Records, Way::In);
        assert_eq!(sent.path, "/bench.work.transfer.v0_1.Transfer/RecordsIn");
        let records = transfer::RecordsInRequest::decode(sent.request).unwrap();
        assert_eq!(records.items, readings(3));
        assert_eq!(transfer::RecordsInResponse::decode(sent.answer).unwrap().value, 3);
        let back = of(Kind::Floats, Way::Echo);
        assert_eq!(transfer::FloatsEchoResponse::decode(back.answer).unwrap().value.len(), 3);
        let strings = transfer::StringsOutResponse::decode(of(Kind::Strings, Way::Out).answer);
        assert_eq!(strings.unwrap().value, items::strings(3));
        let bytes = of(Kind::Bytes, Way::Out);
        assert_eq!(transfer::BytesOutRequest::decode(bytes.request).unwrap().count, 3);
    }

    #[test]
    fn the_answers_of_kernels_are_computed() {
        let work = Work::Compute { kernel: Kernel::Sieve, size: 100 };
        let exchange = Exchange::of(work).unwrap();
        assert_eq!(compute::SieveResponse::decode(exchange.answer).unwrap().value, 25);
        let matrix = compute::MatrixRequest::decode(exchange.request).unwrap();
        assert_eq!(matrix.size, 100);
    }
}
