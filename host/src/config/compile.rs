//! `[compile]`: what checking and compiling a push may cost, in processes of their own.

use anyhow::bail;
use roadstead_domain::{ByteSize, Span};
use roadstead_registry::CompileConfig;
use serde::Deserialize;

/// Memory below which hardly any component compiles.
const LEAST_MEMORY: ByteSize = ByteSize::mib(64);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Section {
    /// Processes that check or compile at the same time; further pushes wait [default: 2]
    workers: Option<usize>,
    /// Memory of one process [default: an eighth of the machine's, 512Mi to 2Gi]
    memory: Option<ByteSize>,
    /// Processor time of one process; five times that on the clock [default: 120s]
    time: Option<Span>,
    /// Threads of one process [default: one a core, at most 8]
    threads: Option<usize>,
    /// The most that one module's compiled code may be [default: 512Mi]
    code: Option<ByteSize>,
}

impl Section {
    /// # Errors
    /// Says which setting is wrong and what it should be.
    pub(crate) fn read(self) -> anyhow::Result<CompileConfig> {
        let machine = CompileConfig::for_machine();
        let config = CompileConfig {
            workers: self.workers.unwrap_or(machine.workers),
            memory: self.memory.unwrap_or(machine.memory),
            time: self.time.unwrap_or(machine.time),
            threads: self.threads.unwrap_or(machine.threads),
            code: self.code.unwrap_or(machine.code),
        };
        for (name, count) in [("workers", config.workers), ("threads", config.threads)] {
            if count == 0 || 1024 < count {
                bail!("compile.{name} is {count}: it must be 1 to 1024");
            }
        }
        super::at_least("compile.memory", Some(config.memory), LEAST_MEMORY)?;
        super::at_least("compile.code", Some(config.code), ByteSize::mib(1))?;
        if config.time < Span::secs(1) {
            bail!("compile.time is {}: it must be 1s at least", config.time);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> anyhow::Result<CompileConfig> {
        toml::from_str::<Section>(text)?.read()
    }

    #[test]
    fn what_is_not_said_is_as_the_machine_has_it() {
        let machine = CompileConfig::for_machine();
        assert_eq!(settings("").unwrap(), machine);
        let said =
            settings("workers = 3\nmemory = '300Mi'\ntime = '9s'\nthreads = 5\ncode = '7Mi'")
                .unwrap();
        assert_eq!((said.workers, said.threads), (3, 5));
        assert_eq!((said.memory, said.code), (ByteSize::mib(300), ByteSize::mib(7)));
        assert_eq!(said.time, Span::secs(9));
    }

    #[test]
    fn wrong_settings_are_named() {
        for text in ["workers = 0", "threads = 0", "memory = '63Mi'", "code = 0", "time = '999ms'"]
        {
            let error = settings(text).unwrap_err().to_string();
            let (name, _) = text.split_once(' ').unwrap();
            assert!(error.starts_with(&format!("compile.{name}")), "{error}");
        }
        assert!(settings("wrokers = 1").is_err());
    }
}
