//! The same server called directly and as a native module.

use anyhow::Context as _;

use super::{DIRECTLY, LINALG, THROUGH, TONIC, case, messages};
use crate::{
    group::Group,
    groups::payloads,
    load::{
        closed::{self, Load},
        script::Script,
    },
    peers::native_module::{NativeHost, NativeModule},
    record::{Case, Row, Sample},
    report,
    stage::{SHARING, Stage},
    subject::{Server, Target},
    work::{Exchange, Kind, Way, Work},
};

/// The server called directly, then through a host; or why it is not here.
type Servers = Result<[Server; 2], String>;

/// Small calls and payloads of the tonic server.
pub(super) async fn tonic(stage: &mut Stage, host: &NativeHost) -> anyhow::Result<Vec<Row>> {
    let Target::Server(direct) = stage.native()?.target else {
        anyhow::bail!("the native peer is a server");
    };
    let servers = Ok([direct, host.push(&NativeModule::tonic()?, "tonic")?]);
    let mut rows = Vec::new();
    let (callers, bytes) =
        if stage.plan.quick { (vec![1, 4], 1 << 10) } else { (vec![1, 16, 64], 1 << 20) };
    for callers in callers {
        let load = stage.load(callers, SHARING);
        let small = Exchange::of(Work::SMALL)?;
        rows.extend(both(stage, &case(TONIC, callers), &servers, small, load).await?);
    }
    for way in Way::ALL {
        let case = format!("{TONIC}, {}", payloads::case(bytes, way));
        let payload = Exchange::of(Work::Transfer { kind: Kind::Bytes, way, count: bytes })?;
        rows.extend(both(stage, &case, &servers, payload, stage.load(4, 1)).await?);
    }
    Ok(rows)
}

/// `describe` of sixteen numbers by modules/linalg.
pub(super) async fn linalg(stage: &Stage, servers: Servers) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for callers in if stage.plan.quick { [1, 4] } else { [1, 64] } {
        let load = stage.load(callers, SHARING);
        let case = case(LINALG, callers);
        rows.extend(both(stage, &case, &servers, messages::describe()?, load).await?);
    }
    Ok(rows)
}

async fn both(
    stage: &Stage,
    case: &str,
    servers: &Servers,
    exchange: Exchange,
    load: Load,
) -> anyhow::Result<Vec<Row>> {
    let names = [DIRECTLY, THROUGH];
    let mut rows = Case::new(Group::Native, case, names);
    for round in 1..=stage.plan.rounds {
        report::progress(format_args!("native: {case}, round {round}"));
        for (number, name) in names.iter().enumerate() {
            if !rows.is_open(number) {
                continue;
            }
            let sample = match servers {
                Err(reason) => Sample::Refused(reason.clone()),
                Ok(servers) => {
                    let server = servers.get(number).context("two servers")?;
                    let script = Script::Unary(vec![exchange.clone()]);
                    let sample = closed::run(server, script, load).await;
                    sample.with_context(|| format!("{case}, {name}"))?
                }
            };
            rows.add(number, sample);
        }
    }
    Ok(rows.finish())
}
