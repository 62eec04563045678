//! Makes small pictures of large ones.

mod picture;
mod shrink;

use bindings::exports::demo::thumbnail::pictures::{Details, Guest, Options, Problem, Thumbnail};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module", additional_derives: [PartialEq] });
    export!(Pictures with_types_in self);
    use super::Pictures;
}

struct Pictures;

impl Guest for Pictures {
    fn inspect(picture: Vec<u8>) -> Result<Details, Problem> {
        picture::Picture::open(&picture).map(|picture| picture.details())
    }

    fn shrink(picture: Vec<u8>, options: Options) -> Result<Thumbnail, Problem> {
        shrink::shrink(&picture, &options)
    }
}
