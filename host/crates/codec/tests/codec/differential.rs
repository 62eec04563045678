//! Both codecs give the same answers, and what the compiled one declines the dynamic one judges.

use proptest::{collection::vec, prelude::*};
use wasmtime::component::Val;

use crate::{
    guest::{compare, echo, encode, wrapped},
    soup::{mutation, soup},
    types::{Type, any_type},
    values::value,
};

fn has_map(ty: &Type) -> bool {
    format!("{ty:?}").contains("Map(")
}

/// A type that the codec serves.
fn served_type() -> impl Strategy<Value = Type> {
    any_type().prop_filter("maps are not served", |ty| !has_map(ty))
}

fn typed_values() -> impl Strategy<Value = (Type, Vec<Val>)> {
    served_type().prop_flat_map(|ty| {
        let values = vec(value(&ty), 1..6);
        (Just(ty), values)
    })
}

proptest! {
    #[test]
    fn any_value_of_any_type_comes_back((ty, values) in typed_values()) {
        let guest = echo(&ty);
        prop_assert_eq!(&guest.unserved, &[None]);
        for value in values {
            let request = encode(&guest.plans[0], &[wrapped(value)]);
            prop_assert_eq!(compare(&guest, &request).map_err(TestCaseError::fail)?, Some(request));
        }
    }

    #[test]
    fn soup_and_changed_messages_are_judged_alike(
        (ty, cases) in served_type().prop_flat_map(|ty| {
            let case = (vec(value(&ty), 1..3), vec(mutation(), 0..3),
                prop_oneof![3 => Just(Vec::new()), 1 => soup()]);
            (Just(ty), vec(case, 1..12))
        }),
        soups in vec(soup(), 0..6),
    ) {
        let guest = echo(&ty);
        for (values, mutations, garnish) in cases {
            let values = values.into_iter().map(wrapped);
            let mut bytes: Vec<u8> =
                values.flat_map(|value| encode(&guest.plans[0], &[value])).collect();
            for mutation in &mutations {
                mutation.apply(&mut bytes);
            }
            bytes.extend(garnish);
            compare(&guest, &bytes).map_err(TestCaseError::fail)?;
        }
        for soup in soups {
            compare(&guest, &soup).map_err(TestCaseError::fail)?;
        }
    }
}
