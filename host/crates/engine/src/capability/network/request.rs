//! What a request that is not sent yet holds on the host: a guest may make as many as it has
//! handles. wasmtime's requests do the work; the functions that give them texts look at the size
//! first.

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    p2::{bindings::http::types as p2, types::HostOutgoingRequest},
    p3::{Request, bindings::http::types as p3},
};

use super::Network;
use crate::capability::HasCapabilities;

/// The longest method.
const METHOD: usize = 64;

/// The longest name and port of a server.
const AUTHORITY: usize = 1 << 10;

/// The answer of a function that sets a part of a request.
type Set = wasmtime::Result<(Result<(), ()>,)>;

const REFUSED: Set = Ok((Err(()),));

impl Network {
    /// Headers take up to three times their bytes, and their request has a path besides.
    pub(crate) fn largest_fields(&self) -> usize {
        self.held / 4
    }

    fn largest_path(&self) -> usize {
        self.held / 4
    }
}

/// Puts what sets a request's method, authority and path behind limits. `linker` must allow
/// shadowing.
pub(crate) fn limit_requests<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    macro_rules! limit {
        ($types:ident, $methods:ident, $request:ty, $version:literal, $name:literal) => {
            let mut types = linker.instance(concat!("wasi:http/types@", $version))?;
            types.func_wrap(
                concat!("[method]", $name, ".set-method"),
                |mut store: StoreContextMut<'_, T>,
                 (request, method): (Resource<$request>, $types::Method)|
                 -> Set {
                    if matches!(&method, $types::Method::Other(name) if METHOD < name.len()) {
                        return REFUSED;
                    }
                    let http = &mut store.data_mut().capabilities().http();
                    Ok(($types::$methods::set_method(http, request, method)?,))
                },
            )?;
            types.func_wrap(
                concat!("[method]", $name, ".set-authority"),
                |mut store: StoreContextMut<'_, T>,
                 (request, authority): (Resource<$request>, Option<String>)|
                 -> Set {
                    if is_longer(&authority, AUTHORITY) {
                        return REFUSED;
                    }
                    let http = &mut store.data_mut().capabilities().http();
                    Ok(($types::$methods::set_authority(http, request, authority)?,))
                },
            )?;
            types.func_wrap(
                concat!("[method]", $name, ".set-path-with-query"),
                |mut store: StoreContextMut<'_, T>,
                 (request, path): (Resource<$request>, Option<String>)|
                 -> Set {
                    let guest = store.data_mut().capabilities();
                    if is_longer(&path, guest.network.largest_path()) {
                        return REFUSED;
                    }
                    let http = &mut guest.http();
                    Ok(($types::$methods::set_path_with_query(http, request, path)?,))
                },
            )?;
        };
    }
    limit!(p2, HostOutgoingRequest, HostOutgoingRequest, "0.2.12", "outgoing-request");
    limit!(p3, HostRequest, Request, "0.3.0", "request");
    Ok(())
}

fn is_longer(text: &Option<String>, most: usize) -> bool {
    text.as_ref().is_some_and(|text| most < text.len())
}
