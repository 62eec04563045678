//! The codec and the reference say the same about every value and about any bytes.

use proptest::{collection::vec, prelude::*};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use roadstead_domain::Fault;
use roadstead_transcode::{
    Body, CopyBudget, MethodPlan, check_request, decode_request, encode_response,
};
use wasmtime::component::Val;

use crate::{
    reference::{read_fields, request_descriptor, write_fields},
    soup::{mutation, soup, without_mismatches},
    types::{Planner, any_type},
    values::{typed_value, value},
};

fn decode(plan: &MethodPlan, bytes: &[u8]) -> Result<Vec<Val>, Fault> {
    let plenty = || CopyBudget::new(1 << 30);
    let decoded = decode_request(plan, bytes, &mut plenty());
    let checked = check_request(plan, bytes, &mut plenty());
    assert_eq!(checked.err(), decoded.as_ref().err().cloned());
    decoded
}

fn encode(plan: &MethodPlan, value: Val) -> Vec<u8> {
    encode_response(plan, &[value], 1 << 30, &mut CopyBudget::new(1 << 30)).unwrap().into()
}

fn reference(plan: &MethodPlan, descriptor: &MessageDescriptor, bytes: &[u8]) -> Option<Vec<Val>> {
    let bytes = without_mismatches(descriptor, bytes);
    let message = DynamicMessage::decode(descriptor.clone(), &*bytes).ok()?;
    let Body::Fields(fields) = &plan.request.body else { panic!("no fields") };
    read_fields(&message, fields)
}

/// Whether a text holds a map; the reference writes those in no order.
fn has_map(value: &Val) -> bool {
    format!("{value:?}").contains("Map(")
}

/// `-0.0` is not the default, but the reference leaves it out.
fn has_negative_zero(value: &Val) -> bool {
    format!("{value:?}").contains("(-0.0)")
}

proptest! {
    #[test]
    fn both_write_the_same_bytes((ty, value) in typed_value()) {
        let plan = Planner::method(&ty);
        let descriptor = request_descriptor(&plan);
        let Body::Fields(fields) = &plan.request.body else { panic!("no fields") };
        let bytes = encode(&plan, value.clone());
        prop_assert_eq!(decode(&plan, &bytes).unwrap(), vec![value.clone()]);
        prop_assert_eq!(
            reference(&plan, &descriptor, &bytes),
            Some(vec![value.clone()])
        );

        let message = write_fields(descriptor, fields, std::slice::from_ref(&value));
        let theirs = message.encode_to_vec();
        if !has_negative_zero(&value) {
            prop_assert_eq!(decode(&plan, &theirs).unwrap(), vec![value.clone()]);
        }
        if !has_map(&value) && !has_negative_zero(&value) {
            prop_assert_eq!(theirs, bytes);
        }
    }

    #[test]
    fn both_judge_soup_the_same(
        ty in any_type(),
        bytes in soup(),
    ) {
        let plan = Planner::method(&ty);
        let theirs = reference(&plan, &request_descriptor(&plan), &bytes);
        prop_assert_eq!(decode(&plan, &bytes).ok(), theirs);
    }

    #[test]
    fn both_judge_changed_and_joined_messages_the_same(
        (ty, values, mutations, garnish) in any_type().prop_flat_map(|ty| {
            let values = vec(value(&ty), 1..4);
            (Just(ty), values, vec(mutation(), 0..3), prop_oneof![3 => Just(Vec::new()), 1 => soup()])
        }),
    ) {
        let plan = Planner::method(&ty);
        let mut bytes: Vec<u8> =
            values.into_iter().flat_map(|value| encode(&plan, value)).collect();
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        bytes.extend(garnish);
        let theirs = reference(&plan, &request_descriptor(&plan), &bytes);
        prop_assert_eq!(decode(&plan, &bytes).ok(), theirs);
    }

    #[test]
    fn random_bytes_never_panic(ty in any_type(), bytes in vec(any::<u8>(), 0..200)) {
        let plan = Planner::method(&ty);
        if let Ok(values) = decode(&plan, &bytes) {
            for value in values {
                encode(&plan, value);
            }
        }
    }

    #[test]
    fn no_budget_is_overdrawn((ty, value) in typed_value(), allowed in 0_u64..4096) {
        let plan = Planner::method(&ty);
        let bytes = encode(&plan, value);
        let mut budget = CopyBudget::new(allowed);
        let decoded = decode_request(&plan, &bytes, &mut budget);
        prop_assert!(budget.used() <= allowed);
        prop_assert!(matches!(decoded, Ok(_) | Err(Fault::Limit(_))));
    }
}
