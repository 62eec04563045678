//! The functions of modules/linalg from Python: as a native module, as a Ray actor and behind FastAPI.

use super::THROUGH;
use crate::{
    group::Group,
    groups::payloads,
    peers::{
        fastapi::{self, FastApi},
        python::Python,
        worker::{Answer, Ask, Worker},
    },
    plan::Plan,
    record::{Case, Row, Sample},
    report,
    stage::Paths,
    subject::Server,
};

/// Calls that are on their way at the same time.
const MANY: usize = 64;

/// Sixteen numbers of `describe`.
const SMALL: u32 = 128;

const RAY: &str = "Ray actor";

/// Who is called.
#[derive(Clone, Copy)]
enum Peer {
    Module,
    Ray,
    FastApi,
}

/// A client of a peer, and what its targets begin with; or why there is none.
type Client = Result<(Worker, String), String>;

/// One for each peer.
pub(super) struct Clients {
    module: Client,
    ray: Client,
    fastapi: Client,
    _servers: Option<FastApi>,
}

/// One case.
struct Asked {
    case: String,
    /// Of the numbers, there and back.
    bytes: u32,
    in_flight: usize,
    /// What each subject is called, who it is, and the method.
    subjects: Vec<(&'static str, Peer, &'static str)>,
}

pub(super) fn measure(plan: &Plan, clients: &mut Clients) -> anyhow::Result<Vec<Row>> {
    let (many, large) = if plan.quick { (4, 1 << 10) } else { (MANY, 16 << 20) };
    let peers = [(THROUGH, Peer::Module), (RAY, Peer::Ray), ("FastAPI, JSON", Peer::FastApi)];
    let all = |method| peers.map(|(name, peer)| (name, peer, method)).to_vec();
    let small = |case: &str, in_flight| Asked {
        case: format!("describe from Python, {case}"),
        bytes: SMALL,
        in_flight,
        subjects: all("describe"),
    };
    let mut subjects = vec![("memcpy there and back", Peer::Module, "copy")];
    subjects.extend(all("scale"));
    let case = format!("scale from Python, {} each way", payloads::size(large));
    let large = Asked { case, bytes: large, in_flight: 1, subjects };
    let mut rows = Vec::new();
    for asked in [small("one at a time", 1), small(&format!("{many} in flight"), many), large] {
        rows.extend(asked.measure(plan, clients)?);
    }
    Ok(rows)
}

impl Asked {
    fn measure(&self, plan: &Plan, clients: &mut Clients) -> anyhow::Result<Vec<Row>> {
        let names = self.subjects.iter().map(|(name, ..)| *name);
        let mut case = Case::new(Group::Native, self.case.as_str(), names);
        for round in 1..=plan.rounds {
            report::progress(format_args!("native: {}, round {round}", self.case));
            for (number, (_, peer, method)) in self.subjects.iter().enumerate() {
                if case.is_open(number) {
                    case.add(number, self.one(plan, clients.of(*peer), method)?);
                }
            }
        }
        Ok(case.finish())
    }

    fn one(&self, plan: &Plan, client: &mut Client, method: &str) -> anyhow::Result<Sample> {
        let (worker, prefix) = match client {
            Ok(client) => client,
            Err(reason) => return Ok(Sample::Refused(reason.clone())),
        };
        let target = if method == "copy" { method.to_owned() } else { format!("{prefix}{method}") };
        let (warm_up, seconds) = (plan.warm_up.as_secs_f64(), plan.slice.as_secs_f64());
        let Self { bytes, in_flight, .. } = *self;
        worker.measure(&Ask { target: &target, bytes, in_flight, warm_up, seconds })
    }
}

impl Clients {
    /// Starts what is here of them; `module` is modules/linalg on a host. All have answered once, so
    /// that none is measured while another starts.
    pub(super) fn start(paths: &Paths, module: Result<&Server, String>) -> anyhow::Result<Self> {
        let ray = match Python::ray(&paths.ray_python).check() {
            Ok(python) => {
                let script = include_str!("../../../peers/native_ray.py");
                Ok(answered(Worker::start(python, script)?, String::new())?)
            }
            Err(reason) => Err(reason),
        };
        let (fastapi, _servers) = match Python::fastapi(&paths.fastapi_python).check() {
            Ok(python) => {
                let servers = fastapi::start(python)?;
                let prefix = format!("{} ", servers.front.address());
                (Ok(answered(fastapi::client(python)?, prefix)?), Some(servers))
            }
            Err(reason) => (Err(reason), None),
        };
        let module = match module {
            Ok(server) => {
                let script = include_str!("../../../peers/native_client.py");
                let prefix = format!("{} linalg ", server.at.address());
                Ok(answered(Worker::start(&paths.python, script)?, prefix)?)
            }
            Err(reason) => Err(reason),
        };
        Ok(Self { module, ray, fastapi, _servers })
    }

    fn of(&mut self, peer: Peer) -> &mut Client {
        match peer {
            Peer::Module => &mut self.module,
            Peer::Ray => &mut self.ray,
            Peer::FastApi => &mut self.fastapi,
        }
    }

    /// What Ray's client answers once to a question; or why there is none.
    pub(super) fn ray_once(&mut self, question: &str) -> anyhow::Result<Result<Answer, String>> {
        let (worker, _) = match &mut self.ray {
            Ok(client) => client,
            Err(reason) => return Ok(Err(reason.clone())),
        };
        worker.ask(&once(question)).map(Ok)
    }
}

/// One call, which nobody measures.
fn once(target: &str) -> Ask<'_> {
    Ask { target, bytes: SMALL, in_flight: 1, warm_up: 0.0, seconds: 0.0 }
}

/// A client that has had an answer.
fn answered(mut worker: Worker, prefix: String) -> anyhow::Result<(Worker, String)> {
    worker.ask(&once(&format!("{prefix}describe")))?;
    Ok((worker, prefix))
}
