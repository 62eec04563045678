//! The contract's whole example, byte for byte, but for its resource and stream.

use roadstead_transcode::{Locks, World};

use crate::support::{derived_with, paths, text, world};

const HARBOUR: &str = include_str!("golden/harbour.wit");
const SHAPES: &str = "acme/harbour/shapes/v1/shapes.proto";
const MANIFEST: &str = "acme/harbour/manifest/v1/manifest.proto";

#[test]
fn the_example_of_the_contract() {
    let derived = derived_with(&world(HARBOUR), &Locks::default());
    assert_eq!(paths(&derived), [SHAPES, MANIFEST]);
    assert_eq!(text(&derived, SHAPES), include_str!("golden/shapes.proto"));
    assert_eq!(text(&derived, MANIFEST), include_str!("golden/manifest.proto"));
    let unmapped: Vec<_> =
        derived.unmapped.iter().map(|one| (one.export.as_str(), one.reason.as_str())).collect();
    assert_eq!(
        unmapped,
        [
            ("acme:harbour/manifest@1.2.0#crane", "resources cannot be mapped yet"),
            ("acme:harbour/manifest@1.2.0#crane.lift", "resources cannot be mapped yet"),
            (
                "acme:harbour/manifest@1.2.0#follow",
                "it uses the resource `crane`; resources cannot be mapped yet"
            ),
        ]
    );
    println!("{}", derived.locks.to_text());
    let _ = World::imports;
}
