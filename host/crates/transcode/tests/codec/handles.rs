//! Handles in messages: which are asked for, and which one says where a call runs.

use std::sync::Arc;

use proptest::prelude::*;
use roadstead_domain::Fault;
use roadstead_transcode::{
    Action, Body, CasePlan, CopyBudget, EncodeError, ExportPath, FieldKind, FieldPlan, HandlePlan,
    Handles, MessagePlan, MethodPlan, ResponsePlan, Scalar, Shape, decode_request,
    decode_request_with, first_handle,
};
use wasmtime::component::ResourceAny;

/// A resource's service, and an id.
type Found = Option<(String, Vec<u8>)>;

/// Notes the first id that is asked for, and knows none.
#[derive(Default)]
struct Asked(Found);

impl Handles for Asked {
    fn resource(&mut self, handle: &HandlePlan, id: &[u8]) -> Result<ResourceAny, Fault> {
        self.0.get_or_insert((handle.resource.clone(), id.to_vec()));
        Err(Fault::NoSuchHandle)
    }

    fn id(&mut self, _: &HandlePlan, _: ResourceAny) -> Result<Vec<u8>, EncodeError> {
        unreachable!()
    }
}

fn handle(resource: &str) -> Shape {
    let plan = HandlePlan { number: 1, resource: resource.to_owned(), owned: false };
    Shape::Message(Arc::new(MessagePlan::new(format!("t.{resource}Handle"), Body::Handle(plan))))
}

fn field(number: u32, name: &str, kind: FieldKind) -> FieldPlan {
    FieldPlan { number, wit_name: name.to_owned(), proto_name: name.to_owned(), kind }
}

fn message(body: Body) -> Shape {
    Shape::Message(Arc::new(MessagePlan::new("t.M", body)))
}

fn method(fields: Vec<FieldPlan>) -> MethodPlan {
    MethodPlan {
        service: "t.S".to_owned(),
        method: "F".to_owned(),
        export: ExportPath { interface: None, function: "f".to_owned() },
        action: Action::Call,
        request: Arc::new(MessagePlan::new("t.FRequest", Body::Fields(fields))),
        input: None,
        response: ResponsePlan::Empty,
    }
}

/// One of every place where a handle may stand, all of them optional in the message.
fn everywhere() -> MethodPlan {
    let case = |number, name: &str, payload| CasePlan {
        number,
        wit_name: name.to_owned(),
        proto_name: name.to_owned(),
        payload,
    };
    let number = || Shape::Scalar(Scalar::U32);
    let variant = Body::Variant(vec![
        case(1, "nothing", None),
        case(2, "number", Some(number())),
        case(3, "held", Some(handle("V"))),
    ]);
    let record = Body::Record(vec![
        field(1, "n", FieldKind::Singular(number())),
        field(2, "r", FieldKind::Optional(handle("R"))),
    ]);
    method(vec![
        field(3, "plain", FieldKind::Singular(number())),
        field(2, "option", FieldKind::Optional(handle("O"))),
        field(1, "variant", FieldKind::Optional(message(variant))),
        field(4, "record", FieldKind::Optional(message(record))),
        field(5, "list", FieldKind::Repeated(handle("L"))),
        field(6, "map", FieldKind::Map { key: Scalar::U32, value: handle("M") }),
    ])
}

fn asked(plan: &MethodPlan, bytes: &[u8]) -> (Found, Result<(), Fault>) {
    let mut asked = Asked::default();
    let result = decode_request_with(plan, bytes, &mut CopyBudget::new(1 << 20), &mut asked);
    (asked.0, result.map(drop))
}

fn first(plan: &MethodPlan, bytes: &[u8]) -> Found {
    first_handle(plan, bytes).map(|(handle, id)| (handle.resource.clone(), id.to_vec()))
}

fn found(resource: &str, id: &[u8]) -> Found {
    Some((resource.to_owned(), id.to_vec()))
}

#[test]
fn the_first_handle_by_parameters_says_where_a_call_runs() {
    let plan = everywhere();
    assert!(plan.takes_handles() && !plan.gives_handles());
    for (bytes, expected) in [
        (&[][..], None),
        (b"\x18\x07", None),
        (b"\x12\x00", found("O", b"")),
        (b"\x12\x03\x0a\x01x", found("O", b"x")),
        // The last occurrence counts, and a later part without an id takes none away.
        (b"\x12\x03\x0a\x01x\x12\x03\x0a\x01y", found("O", b"y")),
        // Parameters in their order, not as they came.
        (b"\x0a\x05\x1a\x03\x0a\x01v\x12\x03\x0a\x01x", found("O", b"x")),
        (b"\x0a\x05\x1a\x03\x0a\x01v", found("V", b"v")),
        // Another case came last.
        (b"\x0a\x07\x1a\x03\x0a\x01v\x10\x01", None),
        (b"\x22\x05\x12\x03\x0a\x01r", found("R", b"r")),
        (b"\x2a\x03\x0a\x01k\x2a\x03\x0a\x01l", found("L", b"k")),
        (b"\x32\x05\x12\x03\x0a\x01m", found("M", b"m")),
    ] {
        assert_eq!(first(&plan, bytes), expected, "{bytes:?}");
        let (asked, result) = asked(&plan, bytes);
        assert_eq!((asked, result.is_err()), (expected.clone(), expected.is_some()), "{bytes:?}");
    }
}

#[test]
fn a_handle_behind_very_many_fields_is_not_looked_for() {
    let plan = everywhere();
    let behind = |fields| [b"\x78\x00".repeat(fields), b"\x12\x03\x0a\x01x".to_vec()].concat();
    assert_eq!(first(&plan, &behind(4000)), found("O", b"x"));
    assert_eq!(first(&plan, &behind(4096)), None);
    // What is long is no handle of ours.
    let long = [b"\x12\x83\x08\x0a\x80\x08".to_vec(), vec![7; 1024]].concat();
    assert_eq!(first(&plan, &long), None);
}

#[test]
fn a_handle_that_is_missing_or_leads_nowhere_is_refused() {
    let plan = method(vec![field(1, "self", FieldKind::Singular(handle("R")))]);
    let (_, missing) = asked(&plan, b"");
    assert!(matches!(missing, Err(Fault::BadInput(found)) if found[0].field == "self"));
    let without = decode_request(&plan, b"\x0a\x00", &mut CopyBudget::new(1 << 20));
    assert_eq!(without, Err(Fault::NoSuchHandle));
    // Its id is no bytes, and its message ends early.
    assert_eq!(asked(&plan, b"\x0a\x02\x08\x01").0, found("R", b""));
    let (_, short) = asked(&plan, b"\x0a\x02\x0a\x05");
    assert!(matches!(short, Err(Fault::BadInput(_))));
}

proptest! {
    #[test]
    fn no_bytes_are_too_much_for_finding_handles(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let plan = everywhere();
        first(&plan, &bytes);
        // Whoever decodes all the same without a session finds no handle: nothing is lost but the call.
        let (asked, result) = asked(&plan, &bytes);
        prop_assert!(asked.is_none() || result.is_err());
    }
}
