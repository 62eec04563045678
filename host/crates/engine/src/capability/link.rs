//! The linker: every interface that the host serves, in both versions of WASI. Once per engine.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::{
    cli::WasiCli, filesystem::WasiFilesystem, p2::bindings as p2, p3::bindings as p3,
    sockets::WasiSockets,
};
use wasmtime_wasi_http::{WasiHttp, p2::bindings::http as http_p2, p3::bindings::http as http_p3};

use super::{
    HasCapabilities, clocks::HasClock, environment::HasEnvironment, files, logging,
    logging::HasLogging, network, random::HasRandom,
};

/// Marks `wasi:io` in the linker.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Puts every interface that the host serves into the linker.
pub(crate) fn link<T: HasCapabilities>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    io(linker)?;
    cli(linker)?;
    pure(linker)?;
    http(linker)?;
    wasmtime_wasi_config::add_to_linker(linker, |t: &mut T| t.capabilities().config())?;
    logging::add_to_linker::<T, HasLogging>(linker, |t| t.capabilities())?;
    filesystem(linker)?;
    sockets(linker)
}

fn io<T: HasCapabilities>(l: &mut Linker<T>) -> wasmtime::Result<()> {
    p2::io::error::add_to_linker::<T, HasTable>(l, |t| &mut t.capabilities().table)?;
    p2::io::poll::add_to_linker::<T, HasTable>(l, |t| &mut t.capabilities().table)?;
    p2::io::streams::add_to_linker::<T, HasTable>(l, |t| &mut t.capabilities().table)
}

fn cli<T: HasCapabilities>(l: &mut Linker<T>) -> wasmtime::Result<()> {
    p2::cli::environment::add_to_linker::<T, HasEnvironment>(l, |t| {
        &mut t.capabilities().environment
    })?;
    p3::cli::environment::add_to_linker::<T, HasEnvironment>(l, |t| {
        &mut t.capabilities().environment
    })?;
    macro_rules! cli {
        ($version:ident: $($interface:ident),*) => {$(
            $version::cli::$interface::add_to_linker::<T, WasiCli>(l, |t| t.capabilities().cli())?;
        )*};
    }
    cli!(p2: stdin, stdout, stderr);
    cli!(p2: terminal_input, terminal_output, terminal_stdin, terminal_stdout, terminal_stderr);
    cli!(p3: stdin, stdout, stderr);
    cli!(p3: terminal_input, terminal_output, terminal_stdin, terminal_stdout, terminal_stderr);
    cli!(p2: exit);
    cli!(p3: exit);
    Ok(())
}

/// Clocks and random bytes.
fn pure<T: HasCapabilities>(l: &mut Linker<T>) -> wasmtime::Result<()> {
    macro_rules! link {
        ($mark:ty, $field:expr; $($interface:ident)::+) => {
            $($interface)::+::add_to_linker::<T, $mark>(l, $field)?;
        };
    }
    link!(HasClock, |t| t.capabilities().clocks(); p2::clocks::wall_clock);
    link!(HasClock, |t| t.capabilities().clocks(); p2::clocks::monotonic_clock);
    link!(HasClock, |t| t.capabilities().clocks(); p3::clocks::types);
    link!(HasClock, |t| t.capabilities().clocks(); p3::clocks::system_clock);
    link!(HasClock, |t| t.capabilities().clocks(); p3::clocks::monotonic_clock);
    link!(HasRandom, |t| &mut t.capabilities().random; p2::random::random);
    link!(HasRandom, |t| &mut t.capabilities().random; p2::random::insecure);
    link!(HasRandom, |t| &mut t.capabilities().random; p2::random::insecure_seed);
    link!(HasRandom, |t| &mut t.capabilities().random; p3::random::random);
    link!(HasRandom, |t| &mut t.capabilities().random; p3::random::insecure);
    link!(HasRandom, |t| &mut t.capabilities().random; p3::random::insecure_seed);
    Ok(())
}

fn http<T: HasCapabilities>(l: &mut Linker<T>) -> wasmtime::Result<()> {
    http_p2::outgoing_handler::add_to_linker::<T, WasiHttp>(l, |t| t.capabilities().http())?;
    http_p2::types::add_to_linker::<T, WasiHttp>(l, &Default::default(), |t| {
        t.capabilities().http()
    })?;
    http_p3::client::add_to_linker::<T, WasiHttp>(l, |t| t.capabilities().http())?;
    http_p3::types::add_to_linker::<T, WasiHttp>(l, |t| t.capabilities().http())?;
    shadowing(l, network::limit_requests)
}

fn filesystem<T: HasCapabilities>(l: &mut Linker<T>) -> wasmtime::Result<()> {
    use WasiFilesystem as Files;
    p2::filesystem::preopens::add_to_linker::<T, Files>(l, |t| t.capabilities().filesystem())?;
    p2::filesystem::types::add_to_linker::<T, Files>(l, |t| t.capabilities().filesystem())?;
    p3::filesystem::preopens::add_to_linker::<T, Files>(l, |t| t.capabilities().filesystem())?;
    p3::filesystem::types::add_to_linker::<T, Files>(l, |t| t.capabilities().filesystem())?;
    shadowing(l, files::limit_files)
}

fn sockets<T: HasCapabilities>(l: &mut Linker<T>) -> wasmtime::Result<()> {
    macro_rules! sockets {
        ($($interface:ident)::+) => {
            $($interface)::+::add_to_linker::<T, WasiSockets>(l, |t| t.capabilities().sockets())?;
        };
    }
    sockets!(p2::sockets::tcp);
    sockets!(p2::sockets::tcp_create_socket);
    sockets!(p2::sockets::udp);
    sockets!(p2::sockets::udp_create_socket);
    sockets!(p2::sockets::instance_network);
    sockets!(p3::sockets::types);
    p2::sockets::network::add_to_linker::<T, WasiSockets>(l, &Default::default(), |t| {
        t.capabilities().sockets()
    })?;
    network::link_lookup(l)?;
    shadowing(l, network::limit_sockets)
}

/// Replaces single functions of an interface.
fn shadowing<T: 'static>(
    linker: &mut Linker<T>,
    replace: impl FnOnce(&mut Linker<T>) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let replaced = replace(linker);
    linker.allow_shadowing(false);
    replaced
}
