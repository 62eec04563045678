//! Calls of modules/linalg and modules/learner, in the messages that the host derives from their WIT.
//! A call whose answer differs is an error of the run, so what is written here is what they are.

use prost::Message;

use crate::work::Exchange;

#[derive(Clone, PartialEq, Message)]
struct DescribeRequest {
    #[prost(double, repeated, tag = "1")]
    values: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    mean: f64,
    #[prost(double, tag = "3")]
    deviation: f64,
    #[prost(double, tag = "4")]
    least: f64,
    #[prost(double, tag = "5")]
    most: f64,
}

#[derive(Clone, PartialEq, Message)]
struct DescribeResponse {
    #[prost(message, optional, tag = "1")]
    value: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct StepRequest {
    #[prost(uint32, tag = "1")]
    count: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Progress {
    #[prost(uint64, tag = "1")]
    step: u64,
}

/// Of `status`; and of `step`, where it went well.
#[derive(Clone, PartialEq, Message)]
struct ProgressResponse {
    #[prost(message, optional, tag = "1")]
    progress: Option<Progress>,
}

/// `describe` of sixteen numbers.
pub(super) fn describe() -> anyhow::Result<Exchange> {
    let values = [1.0, 3.0].repeat(8);
    let value = Summary { count: 16, mean: 2.0, deviation: 1.0, least: 1.0, most: 3.0 };
    Ok(Exchange {
        path: "/demo.linalg.linalg.v0_1.Linalg/Describe".parse()?,
        request: DescribeRequest { values }.encode_to_vec().into(),
        answer: DescribeResponse { value: Some(value) }.encode_to_vec().into(),
    })
}

/// So many steps of the learner; its answer is for [`steps`].
pub(super) fn step(count: u32) -> anyhow::Result<Exchange> {
    learner("Step", StepRequest { count }.encode_to_vec())
}

/// Where the learner stands; its answer is for [`steps`].
pub(super) fn status() -> anyhow::Result<Exchange> {
    learner("Status", Vec::new())
}

fn learner(rpc: &str, request: Vec<u8>) -> anyhow::Result<Exchange> {
    let path = format!("/demo.learner.learner.v0_1.Learner/{rpc}").parse()?;
    Ok(Exchange { path, request: request.into(), answer: bytes::Bytes::new() })
}

/// The steps that an answer of the learner knows of; none where it is an error.
pub(super) fn steps(answer: &[u8]) -> Option<u64> {
    ProgressResponse::decode(answer).ok()?.progress.map(|progress| progress.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_an_answer_are_read_and_those_of_an_error_are_none() {
        let progress = Some(Progress { step: 100 });
        assert_eq!(steps(&ProgressResponse { progress }.encode_to_vec()), Some(100));
        // Field 2, a text: what `step` answers where it refuses.
        assert_eq!(steps(&[0x12, 0x03, 0x0A, 0x01, b'0']), None);
    }

    #[test]
    fn sixteen_numbers_are_described() {
        let exchange = describe().unwrap();
        let request = DescribeRequest::decode(exchange.request).unwrap();
        let value = DescribeResponse::decode(exchange.answer).unwrap().value.unwrap();
        assert_eq!((request.values.len(), value.count), (16, 16));
        assert_eq!(step(7).unwrap().path, "/demo.learner.learner.v0_1.Learner/Step");
        assert_eq!(status().unwrap().request.len(), 0);
    }
}
