//! The codec: a type, and a message that may or may not be one of its.

use arbitrary::Unstructured;
use prost_reflect::DynamicMessage;
use roadstead_transcode::{Body, CopyBudget, check_request, decode_request, encode_response};

use crate::{
    make,
    reference::{read_fields, request_descriptor},
    soup::without_mismatches,
    types::Planner,
};

/// Far more than any input takes.
const PLENTY: u64 = 1 << 32;

/// The first bytes choose a type and a budget, the others are the message.
///
/// # Panics
/// Where the codec and the reference disagree, where what was read is not what is written and read
/// again, and where a budget is overdrawn.
pub fn codec(data: &[u8]) {
    let mut chosen = Unstructured::new(data);
    let Ok(ty) = make::ty(&mut chosen) else { return };
    let allowed = u64::from(chosen.arbitrary::<u16>().unwrap_or_default());
    let bytes = chosen.take_rest();
    let plan = Planner::method(&ty);

    let mut budget = CopyBudget::new(allowed);
    let tight = decode_request(&plan, bytes, &mut budget);
    assert!(budget.used() <= allowed, "the budget is overdrawn");
    let mut budget = CopyBudget::new(PLENTY);
    let decoded = decode_request(&plan, bytes, &mut budget);
    let checked = check_request(&plan, bytes, &mut CopyBudget::new(PLENTY));
    assert_eq!(checked.err(), decoded.as_ref().err().cloned(), "a check says something else");
    if let Ok(values) = &tight {
        assert_eq!(decoded.as_ref().ok(), Some(values), "the budget changes what is read");
    }

    let descriptor = request_descriptor(&plan);
    let Body::Fields(fields) = &plan.request.body else { panic!("a request is fields") };
    let theirs =
        DynamicMessage::decode(descriptor.clone(), &*without_mismatches(&descriptor, bytes));
    let theirs = theirs.ok().and_then(|message| read_fields(&message, fields));
    assert_eq!(decoded.as_ref().ok(), theirs.as_ref(), "the reference reads something else");

    let Ok(values) = decoded else { return };
    let write = |values: &[_]| {
        encode_response(&plan, values, PLENTY, &mut CopyBudget::new(PLENTY)).unwrap()
    };
    let written = write(&values);
    let again = decode_request(&plan, &written, &mut CopyBudget::new(PLENTY)).unwrap();
    assert_eq!(again, values, "what is written reads as something else");
    assert_eq!(write(&again), written, "writing it again gives something else");
}
