//! `[metrics]`: where the host tells machines how it is.

use std::net::SocketAddr;

use anyhow::bail;
use serde::Deserialize;

/// The section as it is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Section {
    /// Address and port of `/metrics`, `/healthz` and `/readyz`, in plain text [default: none]
    listen: Option<SocketAddr>,
    /// Let it be reached from other machines, although nobody is asked who they are
    insecure_no_auth: bool,
}

impl Section {
    /// Where to listen, if anywhere; `flag` goes before the file, `anyone` is what holds for all
    /// ports of the host.
    ///
    /// # Errors
    /// The address can be reached from other machines, and nobody said that it may.
    pub(super) fn read(
        self,
        flag: Option<SocketAddr>,
        anyone: bool,
    ) -> anyhow::Result<Option<SocketAddr>> {
        let Some(listen) = flag.or(self.listen) else { return Ok(None) };
        if !listen.ip().is_loopback() && !anyone && !self.insecure_no_auth {
            bail!(
                "metrics on {listen} can be read from other machines: listen on 127.0.0.1, or set \
                 insecure_no_auth in [metrics] if the network is closed"
            );
        }
        Ok(Some(listen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_needs_the_users_word() {
        let read = |text: &str, flag: Option<&str>, anyone| {
            let flag = flag.map(|flag| flag.parse().unwrap());
            toml::from_str::<Section>(text).unwrap().read(flag, anyone)
        };
        assert_eq!(read("", None, true).unwrap(), None);
        let local = read("listen = '127.0.0.1:1'", None, false).unwrap();
        assert_eq!(local.map(|address| address.port()), Some(1));
        let flag = read("listen = '0.0.0.0:1'", Some("[::1]:2"), false).unwrap();
        assert_eq!(flag.map(|address| address.port()), Some(2));
        let error = read("", Some("0.0.0.0:1"), false).unwrap_err().to_string();
        assert!(error.contains("insecure_no_auth"), "{error}");
        assert!(read("insecure_no_auth = true", Some("0.0.0.0:1"), false).is_ok());
        assert!(read("", Some("0.0.0.0:1"), true).is_ok());
    }
}
