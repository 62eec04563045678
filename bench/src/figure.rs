//! The figures that rows hold: the names under which records keep them, and how tables show them.

/// How a figure is shown.
pub(crate) struct Figure {
    pub key: &'static str,
    pub head: &'static str,
    pub decimals: usize,
}

const fn figure(key: &'static str, head: &'static str, decimals: usize) -> Figure {
    Figure { key, head, decimals }
}

/// Calls that were answered in a second.
pub(crate) const CALLS: &str = "calls_per_s";
/// Items of streams in a second: numbers, or bytes.
pub(crate) const ITEMS: &str = "items_per_s";
/// Bytes of request and response messages in a second, in billions.
pub(crate) const GIGABYTES: &str = "gb_per_s";
/// Latency that half of the calls did not exceed.
pub(crate) const P50: &str = "p50_ms";
/// Latency that 99 of 100 calls did not exceed.
pub(crate) const P99: &str = "p99_ms";
/// How late the client itself sent calls of an open loop.
pub(crate) const SENT_LATE: &str = "sent_late_p99_ms";
/// Processor time of the server's process for each call; of the thread where it is in process.
pub(crate) const SERVER: &str = "server_us_per_call";
/// Processors that the server kept busy.
pub(crate) const SERVER_CORES: &str = "server_cores";
/// Processors that the client kept busy.
pub(crate) const CLIENT_CORES: &str = "client_cores";
/// Wall time of one piece of work.
pub(crate) const TIME: &str = "ms";
/// Resident memory of a process.
pub(crate) const RESIDENT: &str = "resident_mib";
/// Resident memory for each of what was counted.
pub(crate) const EACH: &str = "each_kib";
/// From the start of a process until it listens.
pub(crate) const LISTENING: &str = "listening_ms";
/// The first call after that.
pub(crate) const FIRST_CALL: &str = "first_call_ms";
/// From the start of an upload to the first answer, compilation included.
pub(crate) const PUSH: &str = "push_ms";
/// From making what answers, a push or an actor, to its first answer.
pub(crate) const CREATED: &str = "created_ms";
/// A call of a module whose servers had ended because nobody called it.
pub(crate) const ACTIVATED: &str = "activated_ms";
/// From the end of a server by `kill -9` to the next answer.
pub(crate) const RESTORED: &str = "restored_ms";
/// How much of its state that answer had.
pub(crate) const KEPT: &str = "kept_percent";
/// A call whose compiled code had been dropped from memory.
pub(crate) const EVICTED: &str = "evicted_ms";
/// A call after that.
pub(crate) const WARM: &str = "warm_ms";
/// Size of an upload.
pub(crate) const COMPONENT: &str = "component_mib";
/// Processor time granted, in thousandths of a processor.
pub(crate) const GRANTED: &str = "granted_millicores";
/// Processor time used, in thousandths of a processor.
pub(crate) const USED: &str = "used_millicores";
/// What was used beyond what was granted.
pub(crate) const ERROR: &str = "error_percent";
/// Calls that were sent in a second.
pub(crate) const OFFERED: &str = "offered_per_s";
/// Calls that were refused in a second.
pub(crate) const REFUSED: &str = "refused_per_s";
/// Calls in a second that ended in any other way: deadlines, broken connections.
pub(crate) const LOST: &str = "lost_per_s";
/// What was answered over the capacity.
pub(crate) const OF_CAPACITY: &str = "of_capacity";

/// All of them, in the order of a table's columns.
pub(crate) const ALL: &[Figure] = &[
    figure(COMPONENT, "size MiB", 2),
    figure(PUSH, "push ms", 1),
    figure(LISTENING, "listening ms", 1),
    figure(FIRST_CALL, "first call ms", 1),
    figure(CREATED, "created ms", 1),
    figure(ACTIVATED, "activated ms", 1),
    figure(RESTORED, "after kill -9 ms", 1),
    figure(KEPT, "kept %", 0),
    figure(EVICTED, "evicted ms", 1),
    figure(WARM, "warm ms", 2),
    figure(GRANTED, "granted m", 0),
    figure(USED, "used m", 0),
    figure(ERROR, "error %", 1),
    figure(OFFERED, "offered/s", 0),
    figure(CALLS, "calls/s", 0),
    figure(REFUSED, "refused/s", 0),
    figure(LOST, "lost/s", 1),
    figure(OF_CAPACITY, "of capacity", 2),
    figure(ITEMS, "items/s", 0),
    figure(GIGABYTES, "GB/s", 3),
    figure(P50, "p50 ms", 3),
    figure(P99, "p99 ms", 3),
    figure(SENT_LATE, "sent late p99 ms", 3),
    figure(SERVER, "server µs/call", 1),
    figure(SERVER_CORES, "server cores", 2),
    figure(CLIENT_CORES, "client cores", 2),
    figure(TIME, "ms", 3),
    figure(RESIDENT, "resident MiB", 1),
    figure(EACH, "KiB each", 0),
];
