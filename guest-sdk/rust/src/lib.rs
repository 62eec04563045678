//! For authors of Rust modules: embeds the module's WIT text in its component.
//!
//! A component binary holds types and names but no comments. [`embed_wit!`] puts the WIT files
//! beside them, in the custom section `roadstead:wit`, so that a host can show the author's
//! documentation in the derived `.proto` files and in reflection:
//!
//! ```text
//! wit_bindgen::generate!({ path: "wit", world: "module" });
//! roadstead_guest::embed_wit!("wit");
//! ```
//!
//! The section is a JSON array of `[path, text]` pairs in UTF-8, ordered by path; paths are
//! relative to the embedded directory and use `/`. It lies in the core module that rustc makes,
//! inside the component.

pub use roadstead_guest_macros::embed_wit;
