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
        let startup = probes.startup.duration();
        let until = attempt.started.after(startup);
        return if until <= now {
            let trouble = attempt.trouble.as_deref().map(|text| format!(": {text}"));
            let trouble = trouble.unwrap_or_default();
            let text = format!("it was not ready within {} ms{trouble}", startup.as_millis());
            Verdict::End(Why::Failed(text))
        } else {
            Verdict::Fine(Some(until))
        };
    }
    if attempt.missed >= probes.failures {
        let text = format!("it left {} probes in a row unanswered", attempt.missed);
        return Verdict::End(Why::Failed(text));
    }
    stuck(attempt, now)
}

fn stuck(attempt: &Attempt, now: Moment) -> Verdict {
    let (Some(limit), Some(progress)) = (attempt.spec.probes.progress, attempt.progress) else {
        return Verdict::Fine(None);
    };
    let limit = limit.duration();
    match limit.checked_sub(progress.idle) {
        _ if progress.calls == 0 => Verdict::Fine(None),
        Some(left) if !left.is_zero() => Verdict::Fine(Some(now.after(left))),
        _ => Verdict::End(Why::Failed(format!(
            "it was stuck: {} calls and no progress for {} ms",
            progress.calls,
            progress.idle.as_millis()
        ))),
    }
}
