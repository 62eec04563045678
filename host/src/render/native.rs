//! How native modules stand, as text for people.

use roadstead_proto::v1 as api;

/// `component`, or `native` with how the servers stand of the version that answers.
pub(super) fn kind(module: &api::Module) -> String {
    let mut answering = module.versions.iter().filter(|version| version.percent != 0);
    let Some(version) = answering.next().or(module.versions.first()) else { return String::new() };
    match &version.native {
        Some(standing) => format!("{} {}", version.kind, standing.state),
        None => version.kind.clone(),
    }
}

/// State, confinement and attempts of one version.
pub(super) fn lines(standing: &api::NativeStanding) -> String {
    let mut text = format!("  native    {}\n", state(&standing.state, &standing.reason));
    if !standing.confinement.is_empty() {
        text.push_str(&format!("  confined  {}\n", standing.confinement));
    }
    for attempt in &standing.attempts {
        let state = state(&attempt.state, &attempt.reason);
        text.push_str(&format!("    attempt {}    {state}\n", attempt.epoch));
    }
    text
}

fn state(state: &str, reason: &str) -> String {
    if reason.is_empty() { state.to_owned() } else { format!("{state}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_version_says_how_it_stands_and_why() {
        let attempt = |epoch, state: &str, reason: &str| api::NativeAttempt {
            epoch,
            state: state.to_owned(),
            reason: reason.to_owned(),
        };
        let standing = api::NativeStanding {
            confinement: "a cgroup".to_owned(),
            state: "backing-off".to_owned(),
            reason: "it exited with 1".to_owned(),
            attempts: vec![attempt(2, "starting", ""), attempt(1, "failed", "it exited with 1")],
        };
        assert_eq!(
            lines(&standing),
            "  native    backing-off: it exited with 1\n  confined  a cgroup\n    \
             attempt 2    starting\n    attempt 1    failed: it exited with 1\n"
        );
        let version = |percent, kind: &str, native| api::ModuleVersion {
            percent,
            kind: kind.to_owned(),
            native,
            ..api::ModuleVersion::default()
        };
        let module = |versions| api::Module { versions, ..api::Module::default() };
        let native = version(100, "native", Some(standing));
        let component = version(0, "component", None);
        assert_eq!(kind(&module(vec![component.clone(), native])), "native backing-off");
        assert_eq!(kind(&module(vec![component])), "component");
        assert_eq!(kind(&module(Vec::new())), "");
    }
}
