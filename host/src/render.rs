//! The host's answers as text for people.

pub(crate) mod hosts;
mod native;
mod rollout;
mod spec;
pub(crate) mod usage;

use std::time::{Duration, UNIX_EPOCH};

use roadstead_domain::ByteSize;
use roadstead_proto::v1 as api;
use tonic::metadata::MetadataMap;

use crate::commands::push::phase_text;
pub(crate) use rollout::rollout;

/// What a push published.
pub(crate) fn pushed(outcome: &api::PushOutcome) -> String {
    let Some(module) = &outcome.module else { return String::new() };
    let verb = if outcome.created { "published" } else { "already published:" };
    let mut text = format!("{verb} {}@{}\n", module.name, module.version);
    version_body(&mut text, module);
    if outcome.waits {
        line(&mut text, format_args!(""));
        line(
            &mut text,
            format_args!(
                "it waits for its rollout: roadstead rollout status {0} --watch\n\
                 until then:  --module {0}@{1}",
                module.name, module.version
            ),
        );
    }
    if let Some((service, method)) = first_method(module) {
        line(&mut text, format_args!(""));
        line(&mut text, format_args!("call it:   roadstead call {service}/{method} -d '{{}}'"));
        line(&mut text, format_args!("stubs:     roadstead proto {} -o DIR", module.name));
    } else {
        line(&mut text, format_args!(""));
        line(&mut text, format_args!("it exports no function: nothing of it can be called"));
    }
    text.trim_end().to_owned()
}

/// What a check found.
pub(crate) fn checked(module: &api::ModuleVersion, breaks: &[api::Break]) -> String {
    let mut text = format!("{}@{} could be published\n", module.name, module.version);
    if !breaks.is_empty() {
        text = format!("{} would break callers with old stubs; a push is refused\n", module.name);
        break_lines(&mut text, breaks);
    }
    version_body(&mut text, module);
    text.trim_end().to_owned()
}

pub(crate) fn list(modules: &[api::Module]) -> String {
    if modules.is_empty() {
        return "no modules: publish one with `roadstead push FILE.wasm`".to_owned();
    }
    let columns = ["NAME", "VERSION", "KIND", "SERVICES", "CALLS", "FAULTS"];
    let mut rows = vec![columns.map(str::to_owned)];
    for module in modules {
        let newest = module.versions.first();
        let version = match (module.pinned.as_str(), newest) {
            ("", Some(newest)) => match shares(module).as_slice() {
                [] => newest.version.clone(),
                shares => shares.join(", "),
            },
            ("", None) => String::new(),
            (pinned, _) => format!("{pinned} (pinned)"),
        };
        let services: Vec<_> = newest
            .iter()
            .flat_map(|version| &version.services)
            .map(|service| service.name.as_str())
            .collect();
        let stats = module.stats.clone().unwrap_or_default();
        rows.push([
            module.name.clone(),
            version,
            native::kind(module),
            services.join(" "),
            stats.calls.to_string(),
            stats.faults.values().sum::<u64>().to_string(),
        ]);
    }
    table(&rows)
}

/// The versions that share the calls which name none, with their percent; none where one has all.
fn shares(module: &api::Module) -> Vec<String> {
    let sharing = module.versions.iter().filter(|version| version.percent != 0);
    let shares: Vec<_> =
        sharing.map(|version| format!("{} {}%", version.version, version.percent)).collect();
    let all = module.versions.first().is_some_and(|newest| newest.percent == 100);
    if all { Vec::new() } else { shares }
}

pub(crate) fn module(module: &api::Module) -> String {
    let mut text = module.name.clone();
    if !module.pinned.is_empty() {
        text.push_str(&format!(" (pinned to {})", module.pinned));
    }
    text.push('\n');
    if let Some(used) = &module.usage {
        text.push_str(&usage::lines(used));
    }
    for version in &module.versions {
        let percent = match version.percent {
            0 => String::new(),
            percent => format!("  {percent}% of the calls"),
        };
        line(&mut text, format_args!("\n{}@{}{percent}", version.name, version.version));
        version_body(&mut text, version);
        text.push_str(&spec::lines(&version.spec_json));
    }
    text.trim_end().to_owned()
}

fn version_body(text: &mut String, module: &api::ModuleVersion) {
    line(text, format_args!("  digest    {}", module.digest));
    line(text, format_args!("  size      {} bytes, isolation {}", module.size, module.isolation));
    if !module.problem.is_empty() {
        line(text, format_args!("  PROBLEM   {}", module.problem));
    }
    if let Some(standing) = &module.native {
        text.push_str(&native::lines(standing));
    }
    for service in &module.services {
        line(text, format_args!("  service   {}", service.name));
        for method in &service.methods {
            line(
                text,
                format_args!("    {}    {}    {}", method.name, method.export, path(method)),
            );
            if !method.path_reason.is_empty() {
                line(text, format_args!("      {} because {}", method.path, method.path_reason));
            }
        }
    }
    for import in &module.imports {
        line(text, format_args!("  import    {}: {}", import.name, import.grant));
    }
    for unmapped in &module.unmapped {
        line(text, format_args!("  not callable  {}: {}", unmapped.export, unmapped.reason));
    }
    if !module.forced.is_empty() {
        line(text, format_args!("  forced over:"));
        break_lines(text, &module.forced);
    }
}

/// How a method's messages become values, and how large they may be.
fn path(method: &api::Method) -> String {
    let [input, output] = [method.input_limit, method.output_limit].map(ByteSize);
    format!("{} ({input} in, {output} out)", method.path)
}

fn break_lines(text: &mut String, breaks: &[api::Break]) {
    for broken in breaks {
        line(text, format_args!("    {}: {}", broken.subject, broken.description));
    }
}

fn first_method(module: &api::ModuleVersion) -> Option<(&str, &str)> {
    let service = module.services.first()?;
    Some((&service.name, &service.methods.first()?.name))
}

/// What the operator offers, and who holds it.
pub(crate) fn offers(offers: &[api::Offer]) -> String {
    if offers.is_empty() {
        return "no offers: the host's operator makes them, see `roadstead serve --help`"
            .to_owned();
    }
    let mut rows = vec![["OFFER", "NAME", "TO", "HELD BY", "AS"].map(str::to_owned)];
    for offer in offers {
        let kind = [offer.kind.as_str(), offer.mode.as_str()].join(" ");
        let mut row = [kind.trim_end().to_owned(), offer.name.clone(), offer.to.join(" ")];
        if offer.holders.is_empty() {
            let [kind, name, to] = row.clone();
            rows.push([kind, name, to, "-".to_owned(), String::new()]);
        }
        for holder in &offer.holders {
            let [kind, name, to] = std::mem::take(&mut row);
            let version = format!("{}/{}@{}", holder.namespace, holder.module, holder.version);
            rows.push([kind, name, to, version, holder.grants.join(", ")]);
        }
    }
    table(&rows)
}

/// The state of a push.
pub(crate) fn progress(now: api::Progress, total: u64) -> String {
    let phase = phase_text(now.phase());
    match now.phase() {
        api::progress::Phase::Receiving if total > 0 => {
            format!("{phase} {}%", now.bytes.saturating_mul(100) / total)
        }
        _ => phase.to_owned(),
    }
}

/// Module, instance, fuel and memory, from a response's trailers.
pub(crate) fn usage(trailers: &MetadataMap) -> String {
    let value = |key: &str| trailers.get(key).and_then(|v| v.to_str().ok()).unwrap_or("-");
    format!(
        "module {}, instance {}, fuel {}, peak memory {} bytes, call {}",
        value("roadstead-module"),
        value("roadstead-instance"),
        value("roadstead-fuel-consumed"),
        value("roadstead-peak-memory-bytes"),
        value("roadstead-call"),
    )
}

/// A line, with its host where lines of several may come.
pub(crate) fn log_line(entry: &api::LogLine, with_host: bool) -> String {
    let host = if with_host { format!(" {}", entry.host) } else { String::new() };
    format!(
        "{}{host} {} {} {}: {}",
        utc(entry.unix_ms),
        entry.version,
        entry.call,
        entry.source,
        entry.text
    )
}

/// RFC 3339 in UTC with milliseconds, held within the years 1970 to 9999.
fn utc(unix_ms: i64) -> String {
    const LAST: u64 = 253_402_300_799_999;
    let ms = u64::try_from(unix_ms).unwrap_or(0).min(LAST);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// Left-aligned columns, two spaces apart.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut printed = String::new();
        for (width, cell) in widths.iter().zip(row) {
            printed.push_str(&format!("{cell:<width$}  "));
        }
        line(&mut text, format_args!("{}", printed.trim_end()));
    }
    text.trim_end().to_owned()
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    text.push_str(&content.to_string());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_as_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
        assert_eq!(utc(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(utc(-1), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn tables_align() {
        let rows = [["A", "B"], ["long", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "A     B\nlong  x");
    }

    #[test]
    fn lists_show_who_shares_the_calls() {
        let version = |text: &str, percent| api::ModuleVersion {
            name: "calc".to_owned(),
            version: text.to_owned(),
            percent,
            ..Default::default()
        };
        let of = |newest, older| api::Module {
            name: "calc".to_owned(),
            versions: vec![version("0.2.0", newest), version("0.1.0", older)],
            ..Default::default()
        };
        assert!(list(&[of(100, 0)]).contains("calc  0.2.0 "));
        assert!(list(&[of(5, 95)]).contains("calc  0.2.0 5%, 0.1.0 95% "));
        assert!(list(&[of(0, 100)]).contains("calc  0.1.0 100% "));
        let text = module(&of(5, 95));
        assert!(text.contains("calc@0.2.0  5% of the calls\n"), "{text}");
        assert!(module(&of(0, 100)).contains("calc@0.2.0\n"));
    }

    #[test]
    fn a_push_says_how_to_call() {
        let outcome = api::PushOutcome {
            created: true,
            waits: true,
            module: Some(api::ModuleVersion {
                name: "calc".into(),
                version: "0.1.0".into(),
                services: vec![api::Service {
                    name: "demo.calc.Ops".into(),
                    methods: vec![api::Method {
                        name: "Add".into(),
                        export: "add".into(),
                        path: "dynamic".into(),
                        path_reason: "it has a map".into(),
                        input_limit: 2 << 20,
                        output_limit: 1 << 10,
                    }],
                }],
                ..Default::default()
            }),
        };
        let text = pushed(&outcome);
        assert!(text.starts_with("published calc@0.1.0\n"), "{text}");
        assert!(text.contains("roadstead call demo.calc.Ops/Add"), "{text}");
        assert!(text.contains("roadstead rollout status calc"), "{text}");
        let at_once = api::PushOutcome { waits: false, ..outcome };
        assert!(!pushed(&at_once).contains("rollout"));
        assert!(
            text.contains(
                "    Add    add    dynamic (2Mi in, 1Ki out)\n      dynamic because it has a map\n"
            ),
            "{text}"
        );
    }
}
