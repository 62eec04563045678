//! What modules use against what they are granted, with units that people read.

use std::time::Duration;

use roadstead_domain::Millicores;
use roadstead_proto::v1 as api;

use super::table;

/// One line a module, the first being the busiest; `whole` names where they are.
pub(crate) fn top(usage: &api::ListUsageResponse, whole: bool) -> String {
    let used: u64 = usage.modules.iter().map(|one| one.cpu.unwrap_or_default().millicores_2s).sum();
    let head = format!("cpu {} of {}", cpu(used), cpu(usage.host_millicores));
    let hosts = match usage.hosts.iter().filter(|host| host.error.is_empty()).count() {
        0 | 1 => String::new(),
        several => format!(" on {several} hosts"),
    };
    let head = format!("{head}{hosts}");
    if usage.modules.is_empty() {
        return format!("{head}; no modules: publish one with `roadstead push FILE.wasm`");
    }
    let columns = [
        "MODULE",
        "CPU",
        "GRANTED",
        "CPU 1M",
        "THROTTLED",
        "MEMORY",
        "OF",
        "RUN",
        "QUEUE",
        "STREAMS",
        "SESSIONS",
        "CALLS",
        "FAULTS",
        "FUEL",
        "BREAKER",
        "ISOLATION",
    ];
    let rows: Vec<_> = std::iter::once(columns.map(str::to_owned))
        .chain(usage.modules.iter().map(|module| row(module, whole)))
        .collect();
    format!("{head}\n\n{}", table(&rows))
}

fn row(module: &api::ModuleUsage, whole: bool) -> [String; 16] {
    let (used, memory) = (module.cpu.unwrap_or_default(), module.memory.unwrap_or_default());
    [
        name(module, whole),
        cpu(used.millicores_2s),
        granted(&used),
        cpu(used.millicores_60s),
        span(used.throttled_us),
        bytes(memory.current_bytes),
        bytes(memory.limit_bytes),
        module.running.to_string(),
        module.queued.to_string(),
        module.streams.to_string(),
        module.sessions.to_string(),
        module.calls.to_string(),
        module.faults.values().sum::<u64>().to_string(),
        count(module.fuel),
        match module.open_breakers.as_slice() {
            [] => "-".to_owned(),
            broken => breakers(broken),
        },
        isolation(module),
    ]
}

/// `calc`, `team/calc` or `calc on b`, where that is asked for.
fn name(module: &api::ModuleUsage, whole: bool) -> String {
    let name = match whole {
        true => format!("{}/{}", module.namespace, module.name),
        false => module.name.clone(),
    };
    if module.host.is_empty() { name } else { format!("{name} on {}", module.host) }
}

/// `sandbox`, or `process, ready` of a native module.
fn isolation(module: &api::ModuleUsage) -> String {
    match module.native_state.as_str() {
        "" => module.isolation.clone(),
        state => format!("{}, {state}", module.isolation),
    }
}

/// `open 0.2.0, half-open 0.1.0`
fn breakers(broken: &[api::OpenBreaker]) -> String {
    let one = |breaker: &api::OpenBreaker| {
        let state = match breaker.state() {
            api::BreakerState::HalfOpen => "half-open",
            api::BreakerState::Open | api::BreakerState::Unspecified => "open",
        };
        format!("{state} {}", breaker.version)
    };
    broken.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The same for one module, in words. The host measures nothing of a native one but its calls.
pub(crate) fn lines(module: &api::ModuleUsage) -> String {
    let mut text = match module.native_state.as_str() {
        "" => sandboxed(module),
        _ => format!(
            "  calls     {} ended, {} running, {} queued; {} streams; weight {}\n",
            module.calls,
            module.running,
            module.queued,
            module.streams,
            module.cpu.unwrap_or_default().weight,
        ),
    };
    let mut faults: Vec<_> = module.faults.iter().collect();
    faults.sort();
    if !faults.is_empty() {
        let faults: Vec<_> =
            faults.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        text.push_str(&format!("  faults    {}\n", faults.join(", ")));
    }
    if !module.open_breakers.is_empty() {
        let broken = breakers(&module.open_breakers);
        text.push_str(&format!("  breaker   {broken}: it trapped again and again\n"));
    }
    text
}

/// What instances in the sandbox take.
fn sandboxed(module: &api::ModuleUsage) -> String {
    let (used, memory) = (module.cpu.unwrap_or_default(), module.memory.unwrap_or_default());
    let mut text = format!(
        "  cpu       {} now, {} over a minute, {} in all; granted {}, weight {}",
        cpu(used.millicores_2s),
        cpu(used.millicores_60s),
        span(used.total_us),
        granted_in_words(&used),
        used.weight,
    );
    if 0 < used.throttled_us {
        text.push_str(&format!("; throttled for {}", span(used.throttled_us)));
    }
    text.push_str(&format!(
        "\n  memory    {} now of {}; one instance had {} of {} at most\n",
        bytes(memory.current_bytes),
        bytes(memory.limit_bytes),
        bytes(memory.peak_instance_bytes),
        bytes(memory.instance_limit_bytes),
    ));
    text.push_str(&format!(
        "  calls     {} ended, {} running, {} queued; {} streams, {} idle instances, {} sessions, code {}\n",
        module.calls,
        module.running,
        module.queued,
        module.streams,
        module.idle_instances,
        module.sessions,
        if 0 < module.loaded_versions { "loaded" } else { "not loaded" },
    ));
    text.push_str(&format!("  fuel      {}\n", count(module.fuel)));
    text
}

/// `500m`: at least that; `≤500m`: that and no more; `-`: what is left.
fn granted(used: &api::CpuUsage) -> String {
    match (used.guaranteed_millicores, used.limit_millicores) {
        (_, limit) if 0 < limit => format!("≤{}", cpu(limit)),
        (0, _) => "-".to_owned(),
        (guaranteed, _) => cpu(guaranteed),
    }
}

fn granted_in_words(used: &api::CpuUsage) -> String {
    match (used.guaranteed_millicores, used.limit_millicores) {
        (_, limit) if 0 < limit => format!("{} and no more", cpu(limit)),
        (0, _) => "what others leave".to_owned(),
        (guaranteed, _) => format!("{} at least", cpu(guaranteed)),
    }
}

fn cpu(millicores: u64) -> String {
    Millicores(millicores).to_string()
}

fn span(micros: u64) -> String {
    let time = Duration::from_micros(micros);
    if time < Duration::from_secs(60) {
        return format!("{:.1}s", time.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// With three digits and a unit of 1024.
pub(super) fn bytes(number: u64) -> String {
    scaled(number, 1024, [" B", " KiB", " MiB", " GiB", " TiB"])
}

/// With three digits and a unit of 1000.
fn count(number: u64) -> String {
    scaled(number, 1000, ["", " k", " M", " G", " T"])
}

#[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
fn scaled(number: u64, step: u32, units: [&str; 5]) -> String {
    let mut value = number as f64;
    let mut shown = units.into_iter();
    let mut unit = shown.next().unwrap_or_default();
    for larger in shown {
        if value < f64::from(step) {
            break;
        }
        (value, unit) = (value / f64::from(step), larger);
    }
    let digits = if value < 100.0 && !unit.is_empty() && unit != " B" { 1 } else { 0 };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_readable() {
        assert_eq!(
            [0, 1023, 1536, 256 << 20, 3 << 40].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "256 MiB", "3.0 TiB"]
        );
        assert_eq!([0, 999, 2_000_000_000].map(count), ["0", "999", "2.0 G"]);
        assert_eq!([1_234_000, 3_700_000_000].map(span), ["1.2s", "1h 1m 40s"]);
    }

    #[test]
    fn what_is_granted_is_told_from_what_is_left() {
        let granted = |guaranteed_millicores, limit_millicores| {
            granted(&api::CpuUsage {
                guaranteed_millicores,
                limit_millicores,
                ..Default::default()
            })
        };
        assert_eq!([granted(0, 0), granted(500, 0), granted(500, 500)], ["-", "500m", "≤500m"]);
    }
}
