//! What is done with an upload before anything is compiled.

use arbitrary::Unstructured;
use roadstead_codec::graft;
use roadstead_transcode::{Locks, World, derive, print_proto, to_component};

use crate::make;

/// # Panics
/// Where reading a component or deriving its schema does, or does not come out the same twice.
pub fn component(data: &[u8]) {
    crate::as_in_a_host();
    let Ok(upload) = make::component(&mut Unstructured::new(data)) else { return };
    let Ok(component) = to_component(&upload) else { return };
    let Ok(world) = World::decode(&component) else { return };
    world.imports();
    let (module, version) = ("m".parse().unwrap(), "1.0.0".parse().unwrap());
    let Ok(derived) = derive(&world, &module, &version, &Locks::default()) else { return };
    for file in &derived.files {
        print_proto(file);
    }
    let methods: Vec<_> =
        derived.services.iter().flat_map(|service| service.methods.iter().cloned()).collect();
    if let Ok(grafted) = graft(&component, &methods) {
        assert_eq!(grafted.methods.len(), methods.len(), "each method is judged");
    }
    let again = derive(&world, &module, &version, &derived.locks).unwrap();
    assert_eq!(again.files, derived.files, "its own locks change the schema");
    assert_eq!(again.locks, derived.locks, "deriving again changes the locks");
    if let Ok(text) = world.to_wit() {
        // Text need not say everything, and says so; reading it must end.
        drop(World::from_wit(&[("world.wit".to_owned(), text)], None));
    }
}
