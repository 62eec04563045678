//! Whether one server may live on.

use crate::{Attempt, Contract, Moment, Why};

/// What is to become of a server that lives.
pub(crate) enum Verdict {
    /// And when to look again, at the latest.
    Fine(Option<Moment>),
    End(Why),
}

pub(crate) fn judge(attempt: &Attempt, now: Moment) -> Verdict {
    let probes = &attempt.spec.probes;
    if let Contract::Broken(how) = &attempt.contract {
        return Verdict::End(Why::Mismatch(how.clone()));
    }
    if let Some(since) = attempt.draining {
        let until = since.after(attempt.spec.grace.duration());
        return if until <= now { Verdict::End(Why::Grace) } else { Verdict::Fine(Some(until)) };
    }
    if attempt.ready.is_none() {
        let until = attempt.started.after(probes.startup.duration());
        return match late(attempt, now) {
            Some(why) => Verdict::End(Why::Failed(why)),
            None => Verdict::Fine(Some(until)),
        };
    }
    if let Some(why) = stuck(attempt) {
        return Verdict::End(Why::Failed(why));
    }
    let busy = attempt.progress.filter(|progress| 0 < progress.calls);
    let left = probes
        .progress
        .zip(busy)
        .map(|(limit, progress)| now.after(limit.duration().saturating_sub(progress.idle)));
    Verdict::Fine(left)
}

/// Why a server that was never ready will not be waited for any longer, if it will not.
pub fn late(attempt: &Attempt, now: Moment) -> Option<String> {
    let startup = attempt.spec.probes.startup.duration();
    if attempt.ready.is_some() || now < attempt.started.after(startup) {
        return None;
    }
    let trouble = attempt.trouble.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    Some(format!("it was not ready within {} ms{trouble}", startup.as_millis()))
}

/// Why a server that was ready does not get on, if it does not.
pub fn stuck(attempt: &Attempt) -> Option<String> {
    let probes = &attempt.spec.probes;
    if attempt.missed >= probes.failures {
        return Some(format!("it left {} probes in a row unanswered", attempt.missed));
    }
    let (limit, progress) = (probes.progress?.duration(), attempt.progress?);
    (0 < progress.calls && limit <= progress.idle).then(|| {
        let (calls, idle) = (progress.calls, progress.idle.as_millis());
        format!("it was stuck: {calls} calls and no progress for {idle} ms")
    })
}
