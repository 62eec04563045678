//! How calls that name no version are shared: by the pin, the rollout, or the newest.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use roadstead_domain::Version;
use roadstead_k8s_api::{
    ConditionKind, DecisionAction, Reason, Rollout, RolloutPhase, RolloutStatus, ServingVersion,
};

use super::{
    Decided, Event, Published, Wait, conditions::Says, judge, readiness::Readiness, window::Tally,
};
use crate::objects::ModuleObject;

/// What is decided by.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) module: &'a ModuleObject,
    pub(super) published: &'a Published<'a>,
    pub(super) readiness: &'a Readiness,
    pub(super) current: &'a Decided,
    /// Calls of the step; none where no step is judged.
    pub(super) tally: Option<Tally>,
    pub(super) now: Timestamp,
    pub(super) unsettled: Option<Timestamp>,
}

/// What is decided.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) decided: Decided,
    /// The condition `Progressing`.
    pub(super) progress: Says,
    /// What stands in the way of the module as a whole.
    pub(super) obstacle: Option<Says>,
    pub(super) events: Vec<Event>,
    pub(super) waits: Vec<Wait>,
}

impl Traffic {
    pub(super) fn new(decided: Decided, progress: Says) -> Self {
        Self { decided, progress, obstacle: None, events: Vec::new(), waits: Vec::new() }
    }

    pub(super) fn event(mut self, warning: bool, reason: &'static str, note: String) -> Self {
        let action = self.decided.rollout.as_ref().map_or_else(
            || reason.to_owned(),
            |rollout| format!("{reason} {} step {}", rollout.to, rollout.step.saturating_add(1)),
        );
        self.events.push(Event { version: None, warning, reason, action, note });
        self
    }

    pub(super) fn wait(mut self, wait: Wait) -> Self {
        self.waits.push(wait);
        self
    }

    /// Whether the version was taken back, and why.
    pub(super) fn refused(&self, version: &Version) -> Option<Reason> {
        let rollout = self.decided.rollout.as_ref().filter(|rollout| rollout.to == *version)?;
        ended(rollout.phase)
    }
}

fn ended(phase: RolloutPhase) -> Option<Reason> {
    match phase {
        RolloutPhase::RolledBack => Some(Reason::RolledBack),
        RolloutPhase::Aborted => Some(Reason::Aborted),
        _ => None,
    }
}

/// All calls to one version.
pub(super) fn all_to(version: &Version) -> Vec<ServingVersion> {
    vec![ServingVersion { version: version.clone(), percent: 100 }]
}

/// The version that answers where nothing is decided: the newest release, or the newest pre-release
/// where there is no release. The same as hosts have it.
pub(super) fn newest<'a>(published: &'a Published<'_>) -> Option<&'a Version> {
    let release = published.keys().rev().find(|version| !version.is_prerelease());
    release.or_else(|| published.keys().next_back())
}

pub(super) fn decide(ground: &Ground<'_>) -> Traffic {
    let current = ground.current.clone();
    let spec = match &ground.module.spec {
        Ok(spec) => spec,
        Err(why) => {
            let says = Says::yes(Reason::NotUnderstood, why.clone());
            let progress = Says::unknown(Reason::NotUnderstood, why.clone());
            return Traffic { obstacle: Some(says), ..Traffic::new(current, progress) };
        }
    };
    let Some(newest) = newest(ground.published) else {
        let nothing = Says::no(Reason::NoVersion, "No version of it is published.");
        let decided = Decided { serving: Vec::new(), ..current };
        return Traffic::new(decided, nothing);
    };
    if let Some(pinned) = &spec.pinned {
        return pin(ground, pinned);
    }
    let Some(rules) = &spec.rollout else {
        let decided = Decided { serving: all_to(newest), ..Decided::default() };
        return Traffic::new(decided, up_to_date(newest));
    };
    let rolling = Rolling { ground, rules, newest };
    match running(ground.current) {
        Some(rollout) => rolling.go_on(rollout),
        None => rolling.rest(),
    }
}

fn running(current: &Decided) -> Option<&RolloutStatus> {
    let under_way = |phase| matches!(phase, RolloutPhase::Progressing | RolloutPhase::Paused);
    current.rollout.as_ref().filter(|rollout| under_way(rollout.phase))
}

fn up_to_date(version: &Version) -> Says {
    Says::no(Reason::UpToDate, format!("{version} answers all calls that name no version."))
}

/// A pin goes before all else, and ends what was under way.
fn pin(ground: &Ground<'_>, pinned: &Version) -> Traffic {
    let mut decided = ground.current.clone();
    let mut told = None;
    if let Some(rollout) = running(ground.current) {
        let (phase, end) = if rollout.to == *pinned {
            (RolloutPhase::Completed, "RolloutCompleted")
        } else {
            (RolloutPhase::Aborted, "RolloutAborted")
        };
        let since = Time(ground.now);
        decided.rollout = Some(RolloutStatus { phase, since, ..rollout.clone() });
        told = Some((end, format!("The module was pinned to {pinned}.")));
    }
    let there = ground.published.contains_key(pinned);
    decided.serving = if there { all_to(pinned) } else { Vec::new() };
    let progress = Says::no(Reason::Pinned, format!("Pinned to {pinned}."));
    let mut traffic = Traffic::new(decided, progress);
    if !there {
        let missing = format!("The pinned version {pinned} is not published.");
        traffic.obstacle = Some(Says::yes(Reason::PinnedMissing, missing));
    }
    match told {
        Some((reason, note)) => traffic.event(false, reason, note),
        None => traffic,
    }
}

/// A module whose calls move step by step.
#[derive(Clone, Copy)]
pub(super) struct Rolling<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) rules: &'a Rollout,
    newest: &'a Version,
}

impl Rolling<'_> {
    /// A rollout is under way.
    fn go_on(&self, rollout: &RolloutStatus) -> Traffic {
        let published = self.ground.published;
        if !published.contains_key(&rollout.to) {
            return self.vanished(rollout);
        }
        if !published.contains_key(&rollout.from) {
            return self.complete(rollout, format!("{} is no longer there.", rollout.from));
        }
        match self.decision(&rollout.to) {
            Some(DecisionAction::Promote) => {
                return self.complete(rollout, format!("{} was promoted.", rollout.to));
            }
            Some(DecisionAction::Abort) => {
                let why = format!("{} was aborted: {} answers.", rollout.to, rollout.from);
                return self.back(rollout, RolloutPhase::Aborted, why);
            }
            None => {}
        }
        if self.rules.paused {
            return judge::paused(self, rollout);
        }
        let newer = self.newest != &rollout.to && self.newest != &rollout.from;
        if newer && self.refused(self.newest).is_none() {
            return self.candidate(&rollout.from, Some(&rollout.to));
        }
        judge::judge(self, rollout)
    }

    /// No rollout is under way: one version answers.
    fn rest(&self) -> Traffic {
        let current = self.ground.current;
        let mut shares: Vec<_> = current.serving.iter().collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.percent));
        let answering = shares.into_iter().map(|share| &share.version);
        let stable = answering.into_iter().find(|one| self.ground.published.contains_key(*one));
        let Some(stable) = stable.or_else(|| self.before()) else {
            let decided = Decided { serving: all_to(self.newest), ..current.clone() };
            return Traffic::new(decided, up_to_date(self.newest));
        };
        if let Some(rollout) = current.rollout.as_ref().filter(|rollout| rollout.to == *stable)
            && self.decision(stable) == Some(DecisionAction::Abort)
            && self.ground.published.contains_key(&rollout.from)
        {
            let why = format!("{stable} was aborted: {} answers.", rollout.from);
            return self.back(rollout, RolloutPhase::Aborted, why);
        }
        if let Some(promoted) = self.promoted(stable) {
            let rollout = self.at(stable, promoted, RolloutPhase::Progressing);
            return self.complete(&rollout, format!("{promoted} was promoted."));
        }
        if self.newest == stable {
            let decided = Decided { serving: all_to(stable), ..current.clone() };
            return Traffic::new(decided, up_to_date(stable));
        }
        self.candidate(stable, None)
    }

    /// Where nothing answers and a version was taken back: the one that answered before it.
    fn before(&self) -> Option<&Version> {
        let rollout = self.ground.current.rollout.as_ref()?;
        ended(rollout.phase)?;
        let published = self.ground.published;
        published.contains_key(&rollout.from).then_some(&rollout.from)
    }

    /// A version that a person wants to answer, and that does not.
    fn promoted(&self, stable: &Version) -> Option<&Version> {
        let version = &self.rules.decision.as_ref()?.version;
        let wanted = self.decision(version) == Some(DecisionAction::Promote)
            && version != stable
            && self.ground.published.contains_key(version)
            && (version == self.newest || self.refused(version).is_some());
        wanted.then_some(version)
    }

    /// The newest version is another one than the one that answers.
    fn candidate(&self, stable: &Version, instead: Option<&Version>) -> Traffic {
        let to = self.newest;
        let decided = Decided { serving: all_to(stable), ..self.ground.current.clone() };
        if self.decision(to) == Some(DecisionAction::Abort) && self.refused(to).is_none() {
            let why = format!("{to} was aborted: {stable} answers.");
            let rollout = self.at(stable, to, RolloutPhase::Progressing);
            return self.back(&rollout, RolloutPhase::Aborted, why);
        }
        if let Some(reason) = self.refused(to) {
            let said = decided.why.clone().filter(|_| self.ended_with(to));
            let why = said.unwrap_or_else(|| format!("{to} was taken back: {stable} answers."));
            return Traffic::new(decided, Says::no(reason, why));
        }
        if self.rules.paused {
            let why = format!("{to} waits: rollouts are paused.");
            let traffic = Traffic::new(decided, Says::no(Reason::Paused, why));
            return traffic.wait(Wait::new("spec.rollout.paused to be false"));
        }
        if let Some(traffic) = self.not_ready(stable, to, &decided) {
            return traffic;
        }
        let rollout = self.at(stable, to, RolloutPhase::Progressing);
        let instead = instead.map(|other| format!(", instead of {other}")).unwrap_or_default();
        let note = format!("From {stable} to {to}{instead}.");
        judge::step(self, rollout).event(false, "RolloutBegun", note)
    }

    /// A new version waits until hosts have its code: else the first calls would wait for it.
    fn not_ready(&self, stable: &Version, to: &Version, decided: &Decided) -> Option<Traffic> {
        let on = self.ground.readiness.of(to);
        let (why, wait) = if let Some(until) = self.ground.unsettled {
            let wait = Wait::until("hosts to find this controller", until);
            (format!("{to} waits until hosts were heard; {stable} answers."), wait)
        } else if on.ready.is_empty() {
            let why = match on.failing.len() {
                0 => format!("{to} waits: no host has its code yet; {stable} answers."),
                _ => format!("{to} fails on {}; {stable} answers.", on.problems()),
            };
            (why, Wait::new(format!("a host to be ready for {to}")))
        } else if !on.failing.is_empty() {
            let why = format!("{to} fails on {}; {stable} answers.", on.problems());
            (why, Wait::new(format!("every host to be able to run {to}")))
        } else if !on.compiling.is_empty() {
            let why = format!("{to} waits for its code on {}; {stable} answers.", on.missing());
            (why, Wait::new(format!("{} to be ready for {to}", on.missing())))
        } else {
            return None;
        };
        let progress = Says::yes(Reason::WaitsForHosts, why);
        Some(Traffic::new(decided.clone(), progress).wait(wait))
    }

    fn at(&self, from: &Version, to: &Version, phase: RolloutPhase) -> RolloutStatus {
        let (from, to) = (from.clone(), to.clone());
        RolloutStatus { from, to, phase, step: 0, since: Time(self.ground.now) }
    }

    pub(super) fn complete(&self, rollout: &RolloutStatus, note: String) -> Traffic {
        let phase = RolloutPhase::Completed;
        let since = Time(self.ground.now);
        let decided = Decided {
            serving: all_to(&rollout.to),
            rollout: Some(RolloutStatus { phase, since, ..rollout.clone() }),
            why: None,
        };
        let traffic = Traffic::new(decided, up_to_date(&rollout.to));
        traffic.event(false, "RolloutCompleted", note)
    }

    /// The version before answers again.
    pub(super) fn back(
        &self,
        rollout: &RolloutStatus,
        phase: RolloutPhase,
        why: String,
    ) -> Traffic {
        let since = Time(self.ground.now);
        let decided = Decided {
            serving: all_to(&rollout.from),
            rollout: Some(RolloutStatus { phase, since, ..rollout.clone() }),
            why: Some(why.clone()),
        };
        let (reason, event) = match phase {
            RolloutPhase::RolledBack => (Reason::RolledBack, "RolledBack"),
            _ => (Reason::Aborted, "RolloutAborted"),
        };
        let warning = phase == RolloutPhase::RolledBack;
        Traffic::new(decided, Says::no(reason, why.clone())).event(warning, event, why)
    }

    /// The new version was deleted under way.
    fn vanished(&self, rollout: &RolloutStatus) -> Traffic {
        if !self.ground.published.contains_key(&rollout.from) {
            let decided = Decided { serving: all_to(self.newest), ..Decided::default() };
            return Traffic::new(decided, up_to_date(self.newest));
        }
        let why = format!("{} is no longer there: {} answers.", rollout.to, rollout.from);
        let ended = self.back(rollout, RolloutPhase::Aborted, why);
        // From there it goes on as if nothing had been under way.
        let ground = Ground { current: &ended.decided, tally: None, ..*self.ground };
        let mut traffic = Rolling { ground: &ground, ..*self }.rest();
        traffic.events.splice(0..0, ended.events);
        traffic
    }

    fn decision(&self, version: &Version) -> Option<DecisionAction> {
        let decision = self.rules.decision.as_ref();
        decision.filter(|decision| decision.version == *version).map(|decision| decision.action)
    }

    fn ended_with(&self, version: &Version) -> bool {
        let rollout = self.ground.current.rollout.as_ref();
        rollout.is_some_and(|rollout| rollout.to == *version && ended(rollout.phase).is_some())
    }

    /// Why a version is not tried again. Its own object remembers it when another rollout followed.
    fn refused(&self, version: &Version) -> Option<Reason> {
        let rollout = self.ground.current.rollout.as_ref().filter(|one| one.to == *version);
        if let Some(rollout) = rollout {
            return ended(rollout.phase);
        }
        let object = self.ground.published.get(version)?;
        let serving = object.conditions.iter().find(|one| one.kind == ConditionKind::Serving)?;
        let reason = serving.reason;
        matches!(reason, Reason::RolledBack | Reason::Aborted).then_some(reason)
    }
}
