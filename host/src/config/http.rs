//! `[http]`: what clients of the port may hold, and for how long.

use std::time::Duration;

use anyhow::bail;
use roadstead_domain::{ByteSize, Span};
use roadstead_gateway::GatewayConfig;
use serde::Deserialize;

/// The section as it is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Section {
    /// Connections that may be open; further ones are closed at once [default: 10000, and no more
    /// than three quarters of the file descriptors]
    max_connections: Option<usize>,
    /// Connections that one peer may have open, by IPv4 address or IPv6 /64. Behind a proxy all
    /// clients are one peer: raise it there [default: 1000]
    max_connections_per_peer: Option<usize>,
    /// Requests that may be open on all connections; one peer may have half [default: 16384]
    max_requests: Option<usize>,
    /// Requests that one connection may have open [default: 1024]
    max_streams: Option<u32>,
    /// All header names and values of a request [default: 16Ki]
    max_headers: Option<ByteSize>,
    /// Uploads that may be on their way; one connection may have a quarter [default: 32]
    max_uploads: Option<usize>,
    /// Requests and responses held in memory at once; one peer may have half, one connection a
    /// quarter, and no message may be longer than that quarter [default: 256Mi]
    message_memory: Option<ByteSize>,
    /// How long a request may take to arrive, and TLS or the first bytes of a connection
    /// [default: 30s]
    receive_timeout: Option<Span>,
    /// How long a client may leave what it is sent unread [default: 30s]
    write_timeout: Option<Span>,
    /// How long a connection may stay open without a request [default: 5m]
    idle_timeout: Option<Span>,
    /// How old a connection may get before its client must connect again, and a fifth more or
    /// less, or `never` [default: 10m, but never on loopback]
    connection_age: Option<Age>,
    /// How long streams may go on after that [default: 30s]
    connection_grace: Option<Span>,
}

/// The age of connections, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum Age {
    Never,
    At(Span),
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "never" => Ok(Self::Never),
            _ => text.parse().map(Self::At).map_err(|error| format!("{error}, or never")),
        }
    }
}

/// The age where none is set: on loopback there is no other host to go to.
fn usual_age(loopback: bool) -> Option<Duration> {
    (!loopback).then_some(Duration::from_secs(600))
}

impl Section {
    /// The gateway's settings as far as this section goes, for a port on loopback or beyond.
    ///
    /// # Errors
    /// Says which setting is wrong and what it should be.
    pub(super) fn read(self, loopback: bool) -> anyhow::Result<GatewayConfig> {
        let default = GatewayConfig::default();
        let streams = self.max_streams.map(|streams| streams as usize);
        for (name, count) in [
            ("max_connections", self.max_connections),
            ("max_connections_per_peer", self.max_connections_per_peer),
            ("max_requests", self.max_requests),
            ("max_streams", streams),
            ("max_uploads", self.max_uploads),
        ] {
            if let Some(count) = count.filter(|count| !(1..=1 << 20).contains(count)) {
                bail!("http.{name} is {count}: it must be 1 to {}", 1 << 20);
            }
        }
        super::at_least("http.max_headers", self.max_headers, ByteSize::kib(1))?;
        super::at_least("http.message_memory", self.message_memory, ByteSize::mib(1))?;
        if let Some(headers) = self.max_headers.filter(|headers| *headers > ByteSize::mib(1)) {
            bail!("http.max_headers is {headers}: it can be 1Mi at most");
        }
        let span = |span: Option<Span>, default| span.map_or(default, Span::duration);
        Ok(GatewayConfig {
            connections: self.max_connections.unwrap_or(default.connections),
            connections_per_peer: self
                .max_connections_per_peer
                .unwrap_or(default.connections_per_peer),
            requests: self.max_requests.unwrap_or(default.requests),
            streams: self.max_streams.unwrap_or(default.streams),
            headers: self.max_headers.unwrap_or(default.headers),
            uploads: self.max_uploads.unwrap_or(default.uploads),
            message_budget: self.message_memory.unwrap_or(default.message_budget),
            receive_timeout: span(self.receive_timeout, default.receive_timeout),
            write_timeout: span(self.write_timeout, default.write_timeout),
            idle_timeout: span(self.idle_timeout, default.idle_timeout),
            connection_age: match self.connection_age {
                None => usual_age(loopback),
                Some(Age::Never) => None,
                Some(Age::At(age)) => Some(age.duration()),
            },
            connection_grace: span(self.connection_grace, default.connection_grace),
            ..default
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<GatewayConfig> {
        toml::from_str::<Section>(text)?.read(true)
    }

    #[test]
    fn connections_age_beyond_loopback_unless_told_otherwise() {
        let age = |text: &str, loopback| {
            toml::from_str::<Section>(text).unwrap().read(loopback).unwrap().connection_age
        };
        assert_eq!(age("", true), None);
        assert_eq!(age("", false), Some(Duration::from_secs(600)));
        assert_eq!(age("connection_age = 'never'", false), None);
        let minute = Some(Duration::from_secs(60));
        assert_eq!(age("connection_age = '1m'", true), minute);
        assert_eq!(age("connection_age = '1m'", false), minute);
        for bad in ["connection_age = '0s'", "connection_age = 'always'"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("never"), "{error}");
        }
        assert!(read("connection_grace = '0s'").is_err());
        let config = read("connection_grace = '5m'").unwrap();
        assert_eq!(config.connection_grace, Duration::from_secs(300));
    }

    #[test]
    fn settings_reach_the_gateway_and_the_rest_are_defaults() {
        let config = read("max_connections_per_peer = 5\nidle_timeout = '1m'").unwrap();
        assert_eq!(config.connections_per_peer, 5);
        assert_eq!(config.idle_timeout, Duration::from_secs(60));
        assert_eq!(config.streams, GatewayConfig::default().streams);
    }

    #[test]
    fn what_would_lock_everyone_out_is_named() {
        for text in [
            "max_connections = 0",
            "max_streams = 0",
            "max_requests = 2000000",
            "max_headers = '1'",
            "max_headers = '2Mi'",
            "message_memory = '1Ki'",
        ] {
            let error = read(text).unwrap_err().to_string();
            let (name, _) = text.split_once(' ').unwrap();
            assert!(error.starts_with(&format!("http.{name}")), "{error}");
        }
        assert!(read("max_conections = 1").is_err());
        assert!(read("receive_timeout = '0s'").is_err());
    }
}
