//! Resources: their services, messages, handles, names and what breaks callers of them.

use roadstead_transcode::{Action, Body, Derived, FieldKind, Locks, Shape, World, compare};

use crate::support::{
    assert_lines, component, derived, derived_with, method, only, paths, text, unmapped, world,
};

fn interface(items: &str) -> String {
    format!("package t:res;\ninterface ops {{ {items} }}\nworld w {{ export ops; }}")
}

fn services(derived: &Derived) -> Vec<String> {
    let services = derived.services.iter();
    let text = services.map(|service| {
        let methods: Vec<&str> = service.methods.iter().map(|one| one.method.as_str()).collect();
        format!("{}: {}", service.name.replace("t.res.ops.", ""), methods.join(" "))
    });
    text.collect()
}

#[test]
fn a_resource_is_a_service_of_its_own() {
    let derived = derived(&interface(
        "resource big-counter {
           constructor(start: u32);
           add: func(by: u32) -> u64;
           merge: static func(all: list<big-counter>) -> big-counter;
         }
         sum: func(of: list<borrow<big-counter>>) -> u64;",
    ));
    assert_eq!(services(&derived), ["Ops: Sum", "OpsBigCounter: Create Add Merge Drop"]);
    let file = only(&derived);
    assert_lines(
        &file,
        "message BigCounterHandle {
           bytes id = 1;
         }

         message SumRequest {
           repeated BigCounterHandle of = 1;
         }",
    );
    assert_lines(
        &file,
        "message OpsBigCounterAddRequest {
           BigCounterHandle self = 1;
           uint32 by = 2;
         }",
    );
    assert_lines(
        &file,
        "message OpsBigCounterDropRequest {
           BigCounterHandle self = 1;
         }

         message OpsBigCounterDropResponse {}",
    );
}

#[test]
fn plans_say_what_is_a_handle_and_who_owns_it() {
    let derived = derived(&interface(
        "resource r {
           constructor();
           peek: func() -> u8;
           make: static func() -> result<r, string>;
           version: static func() -> string;
         }
         record held { r: own<r>, n: u8 }
         give: func(h: option<held>);
         look: func(r: borrow<r>);
         plain: func(n: u8) -> u8;",
    ));
    let uses = |name: &str| {
        let plan = method(&derived, name);
        (plan.takes_handles(), plan.gives_handles(), plan.action == Action::Drop)
    };
    assert_eq!(uses("Create"), (false, true, false));
    assert_eq!(uses("Peek"), (true, false, false));
    assert_eq!(uses("Make"), (false, true, false));
    assert_eq!(uses("Version"), (false, false, false));
    assert_eq!(uses("Give"), (true, false, false));
    assert_eq!(uses("Plain"), (false, false, false));
    assert_eq!(uses("Drop"), (true, false, true));
    let owned = |name: &str| {
        let Body::Fields(fields) = &method(&derived, name).request.body else { panic!() };
        let FieldKind::Singular(Shape::Message(message)) = &fields[0].kind else { panic!() };
        let Body::Handle(handle) = &message.body else { panic!("{:?}", message.body) };
        assert_eq!(handle.resource, "t.res.ops.OpsR");
        assert_eq!(message.name, "t.res.ops.RHandle");
        handle.owned
    };
    assert!(!owned("Peek") && !owned("Look") && owned("Drop"));
    assert_eq!(method(&derived, "Peek").export.function, "[method]r.peek");
}

#[test]
fn only_what_there_is_gets_an_rpc() {
    let derived = derived(&interface("resource r; make: func() -> r;"));
    assert_eq!(services(&derived), ["Ops: Make", "OpsR: Drop"]);
    let alone = crate::support::derived(&interface("resource r { get: func(); }"));
    assert_eq!(services(&alone), ["OpsR: Get Drop"]);
}

#[test]
fn names_that_are_taken_are_numbered() {
    let derived = derived(&interface(
        "record r-handle { n: u8 }
         resource r {
           constructor();
           create: func();
           drop: func();
           other: func();
         }
         ops-r-other: func(h: r-handle);",
    ));
    let [own, of_resource] = services(&derived).try_into().unwrap();
    assert_eq!(own, "Ops: OpsROther");
    assert!(of_resource.starts_with("OpsR: Create Create2 Drop Other2 Drop2"), "{of_resource}");
    let file = only(&derived);
    assert!(file.contains("message RHandle {\n  uint32 n"), "{file}");
    assert!(file.contains("message RHandleType {\n  bytes id"), "{file}");
}

#[test]
fn resources_of_other_interfaces_are_used_by_their_handles() {
    let derived = derived(
        "package t:two;
         interface a { resource r { constructor(); } }
         interface b { use a.{r as mine}; f: func(x: mine) -> option<mine>; g: func(x: borrow<mine>); }
         world w { export a; export b; }",
    );
    assert!(unmapped(&derived).is_empty());
    assert_eq!(paths(&derived), ["t/two/a/a.proto", "t/two/b/b.proto"]);
    assert_lines(
        &text(&derived, "t/two/b/b.proto"),
        "message FRequest {
           .t.two.a.RHandle x = 1;
         }

         message FResponse {
           optional .t.two.a.RHandle value = 1;
         }",
    );
}

#[test]
fn imported_resources_cannot_be_mapped() {
    let derived = derived(
        "package t:imp;
         interface files { resource file { read: func() -> u8; } }
         interface ops { use files.{file}; record r { f: own<file> }
           open: func(f: file); see: func() -> list<r>; fine: func(); }
         world w { import files; export ops; }",
    );
    let why = "it uses the resource `file`, which the module does not export";
    let of = |name: &str| format!("t:imp/ops#{name}: {why}");
    assert_eq!(unmapped(&derived), [of("open"), of("see")]);
    assert_eq!(derived.services.len(), 1);
}

#[test]
fn a_component_says_the_same_as_its_text() {
    let wit = interface(
        "resource r { constructor(n: u8); get: func() -> u8; twin: static func(of: borrow<r>) -> r; }
         swap: func(a: r, b: borrow<r>) -> tuple<r, u8>;",
    );
    let of_text = derived(&wit);
    let decoded = World::decode(&component(&wit)).unwrap();
    let of_binary = derived_with(&decoded, &of_text.locks);
    let plans = |derived: &Derived| -> Vec<_> {
        derived.services.iter().flat_map(|one| one.methods.clone()).collect()
    };
    let find = |name: &str| plans(&of_binary).into_iter().find(|plan| plan.method == name);
    for plan in plans(&of_text) {
        assert_eq!(find(&plan.method).as_ref(), Some(&plan));
    }
    // Kept as text without the component, it is read again.
    let again =
        World::from_wit(&[("interface.wit".to_owned(), decoded.to_wit().unwrap())], Some("root"));
    let again = derived_with(&again.unwrap(), &of_binary.locks);
    assert_eq!(plans(&again), plans(&of_binary));
    assert_eq!(again.files, of_binary.files);
}

#[test]
fn handles_have_no_place_in_streams() {
    let derived = derived(&interface(
        "resource r { constructor(); watch: func() -> stream<u8>; feed: func(s: stream<u8>); }
         many: func() -> stream<own<r>>;",
    ));
    let why = "handles cannot stand in the messages of a stream";
    assert_eq!(
        unmapped(&derived),
        [format!("t:res/ops#many: {why}"), format!("t:res/ops#r.feed: {why}")]
    );
    assert_eq!(services(&derived), ["OpsR: Create Watch Drop"]);
}

fn breaks(before: &str, after: &str) -> Vec<String> {
    let before = derived(&interface(before));
    let after = derived_with(&world(&interface(after)), &before.locks);
    let found = compare(&before.locks, &before.surface, &after);
    let text = found.into_iter().map(|one| format!("{}: {}", one.subject, one.description));
    text.map(|text| text.replace("t.res.ops.", "")).collect()
}

#[test]
fn what_breaks_callers_of_resources() {
    let none = Vec::<String>::new();
    let one = "resource r { constructor(); get: func() -> u8; }";
    assert_eq!(breaks(one, one), none);
    assert_eq!(
        breaks(one, "resource r { constructor(); get: func() -> u8; put: func(n: u8); }"),
        none
    );
    assert_eq!(breaks(one, "f: func();"), none, "the older version goes on serving the service");
    assert_eq!(breaks(one, "resource r { constructor(); }"), ["OpsR/Get: the function is gone"]);
    assert_eq!(
        breaks(one, "resource r { get: func() -> u8; }"),
        ["OpsR/Create: the function is gone"]
    );
    assert_eq!(
        breaks("resource r; f: func(a: borrow<r>);", "resource r; f: func(a: own<r>);"),
        ["FRequest.a: was .RHandle and is own<.RHandle>"]
    );
    assert_eq!(
        breaks("resource r; f: func(n: u8);", "resource r; f: func(n: u8, a: borrow<r>);"),
        ["FRequest.a: the parameter is new and must be set, which callers so far do not"]
    );
    assert_eq!(
        breaks("resource r; f: func(n: u8);", "resource r; f: func(n: u8, a: option<borrow<r>>) ;"),
        none
    );
}

#[test]
fn a_lock_keeps_the_names_of_resources() {
    let before = derived(&interface("resource r { create: func(); }"));
    assert_eq!(services(&before), ["OpsR: Create Drop"]);
    let after = derived_with(
        &world(&interface("resource r { constructor(); create: func(); }")),
        &before.locks,
    );
    assert_eq!(services(&after), ["OpsR: Create2 Create Drop"]);
    let gone =
        derived_with(&world(&interface("record ops-r { n: u8 } f: func(a: ops-r);")), &after.locks);
    assert!(only(&gone).contains("message OpsRType {"), "the name of a service stays taken");
    assert_eq!(Locks::parse(&gone.locks.to_text()).unwrap(), gone.locks);
    let broken = after.locks.to_text().replace("\"r\": \"OpsR\"", "\"q\": \"OpsR\"");
    let error = Locks::parse(&broken).unwrap_err().to_string();
    assert!(error.contains("the resource `r`, which is missing"), "{error}");
}
