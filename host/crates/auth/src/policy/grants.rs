//! Who has which role where, found by one look-up of the name.

use std::collections::{BTreeMap, HashSet};

use toml::Spanned;

use super::{
    PolicyError, Text,
    file::{GrantEntry, Within},
};
use crate::identity::Standing;

/// Whom grants may name.
pub(super) struct Known<'a> {
    pub tokens: HashSet<&'a str>,
    pub issuers: HashSet<&'a str>,
    pub certificates: bool,
}

/// All grants of a policy.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    exact: BTreeMap<String, Standing>,
    /// Those that end in `*`, without it; the longest last.
    prefixes: Vec<(String, Standing)>,
}

const ANONYMOUS: &str = "anonymous";

/// What `who` may be.
const FORMS: &str = "must be `token:NAME`, `jwt:ISSUER:SUBJECT`, `cert:NAME` or `anonymous`; \
                     SUBJECT and NAME of a certificate may end in `*`";

impl Grants {
    /// # Errors
    /// The first grant of somebody that the policy does not know, or that contradicts another.
    pub(super) fn read(
        entries: &[GrantEntry],
        known: &Known<'_>,
        lines: &Text<'_>,
    ) -> Result<Self, PolicyError> {
        let mut exact: BTreeMap<String, Standing> = BTreeMap::new();
        let mut prefixes: BTreeMap<String, Standing> = BTreeMap::new();
        for entry in entries {
            let all = entry.who.as_ref().list();
            if all.is_empty() {
                return Err(lines.wrong(&entry.who, "grant.who", FORMS));
            }
            let namespaces = entry.namespaces.as_ref();
            if namespaces.is_empty() {
                let problem = "must name one at least, or \"*\" for all";
                return Err(lines.wrong(&entry.namespaces, "grant.namespaces", problem));
            }
            for who in &all {
                check(who, known).map_err(|problem| {
                    lines.wrong(&entry.who, "grant.who", format!("`{who}`: {problem}"))
                })?;
                let standing = match who.strip_suffix('*') {
                    Some(prefix) => prefixes.entry(prefix.to_owned()).or_default(),
                    None => exact.entry(who.clone()).or_default(),
                };
                add(standing, entry, lines)?;
            }
        }
        let mut prefixes: Vec<_> = prefixes.into_iter().collect();
        prefixes.sort_by_key(|(prefix, _)| prefix.len());
        Ok(Self { exact, prefixes })
    }

    /// Everything that is granted to the name; the most specific grant says where it is at home.
    pub(crate) fn standing(&self, name: &str) -> Standing {
        let mut all = Standing::default();
        let matching = self.prefixes.iter().filter(|(prefix, _)| name.starts_with(prefix));
        for standing in matching.map(|(_, standing)| standing).chain(self.exact.get(name)) {
            all.everywhere = all.everywhere.max(standing.everywhere);
            for (namespace, role) in &standing.namespaces {
                let has = all.namespaces.entry(namespace.clone()).or_insert(*role);
                *has = (*has).max(*role);
            }
            all.home = standing.home.clone().or(all.home);
        }
        all
    }

    /// Whether callers without credentials are let in.
    pub(crate) fn anonymous(&self) -> bool {
        self.exact.contains_key(ANONYMOUS)
    }
}

fn add(standing: &mut Standing, entry: &GrantEntry, lines: &Text<'_>) -> Result<(), PolicyError> {
    for within in entry.namespaces.as_ref() {
        match within {
            Within::All => standing.everywhere = standing.everywhere.max(Some(entry.role)),
            Within::One(namespace) => {
                let has = standing.namespaces.entry(namespace.clone()).or_insert(entry.role);
                *has = (*has).max(entry.role);
            }
        }
    }
    let Some(home) = &entry.home else { return Ok(()) };
    if standing.everywhere.is_none() && !standing.namespaces.contains_key(home.as_ref()) {
        let problem = "must be one of the namespaces of its grants";
        return Err(lines.wrong(home, "grant.home", problem));
    }
    if standing.home.as_ref().is_some_and(|other| other != home.as_ref()) {
        return Err(other_home(home, lines));
    }
    standing.home = Some(home.as_ref().clone());
    Ok(())
}

fn other_home<T>(home: &Spanned<T>, lines: &Text<'_>) -> PolicyError {
    lines.wrong(home, "grant.home", "another grant gives the same `who` another home")
}

fn check(who: &str, known: &Known<'_>) -> Result<(), String> {
    let stars = who.matches('*').count();
    if 1 < stars || (stars == 1 && !who.ends_with('*')) {
        return Err("`*` may stand at the end alone".to_owned());
    }
    match who.split_once(':') {
        None if who == ANONYMOUS => Ok(()),
        Some(("token", name)) if known.tokens.contains(name) => Ok(()),
        Some(("token", _)) => Err("no [[token]] has this name".to_owned()),
        Some(("jwt", rest)) => {
            let (issuer, subject) = rest.split_once(':').unwrap_or((rest, ""));
            if !known.issuers.contains(issuer) {
                return Err(format!("no [[jwt]] has the name `{issuer}`"));
            }
            if subject.is_empty() {
                let whole = format!("jwt:{issuer}:SUBJECT, or jwt:{issuer}:* for all");
                return Err(format!("say whose tokens: {whole}"));
            }
            Ok(())
        }
        Some(("cert", "")) => Err(FORMS.to_owned()),
        Some(("cert", _)) if known.certificates => Ok(()),
        Some(("cert", _)) => Err("certificates need [mtls] with client_ca".to_owned()),
        _ => Err(FORMS.to_owned()),
    }
}
