//! The typed peer: a component called by its Rust types on wasmtime alone, in this process and on
//! one thread. No messages, no gateway, no limits but those that are asked for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, ComponentType, InstancePre, Lift,
        Linker, Lower, ResourceTable, TypedFunc,
    },
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    figure, items,
    load::closed::{Load, latency, throughput},
    process::thread_time,
    record::Sample,
    work::{Exchange, Kernel, Kind, Way, Work},
};

/// What is checked while a guest runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checks {
    pub fuel: bool,
    pub epochs: bool,
}

/// Whether an instance serves one call or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instances {
    Used,
    Fresh,
}

/// A compiled component; copies share its code.
#[derive(Clone)]
pub(crate) struct Typed {
    engine: Engine,
    component: Component,
    instance: InstancePre<Context>,
    checks: Checks,
    instances: Instances,
}

struct Context {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// `reading` of the guests' WIT.
#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct Reading {
    sensor: u32,
    name: String,
    value: f64,
    valid: bool,
}

impl Typed {
    /// With one instance for all calls.
    pub(crate) fn compile(component: &[u8], checks: Checks) -> anyhow::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.linear_memory_keep_resident(256 << 10)
            .table_keep_resident(256 << 10)
            .pagemap_scan(Enabled::Auto)
            .total_memories(32)
            .total_tables(128)
            .max_tables_per_component(32)
            .max_memories_per_component(32);
        let mut config = Config::new();
        config
            .consume_fuel(checks.fuel)
            .epoch_interruption(checks.epochs)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        let instance = linker.instantiate_pre(&component)?;
        Ok(Self { engine, component, instance, checks, instances: Instances::Used })
    }

    /// The same code with an instance for each call.
    pub(crate) fn per_call(&self) -> Self {
        Self { instances: Instances::Fresh, ..self.clone() }
    }

    /// Calls from this thread for a slice, after a warm-up. Blocks.
    pub(crate) fn closed(&self, work: Work, load: Load) -> anyhow::Result<Sample> {
        let exchange = Exchange::of(work)?;
        match work {
            Work::Compute { kernel, size } => {
                let index = self.export("compute", kernel.name())?;
                self.run::<_, (u64,)>(&index, (size,), &exchange, load)
            }
            Work::Transfer { kind: Kind::Bytes, way, count } => {
                self.list("bytes", way, items::bytes(count), &exchange, load)
            }
            Work::Transfer { kind: Kind::Floats, way, count } => {
                self.list("floats", way, items::floats(count), &exchange, load)
            }
            Work::Transfer { kind: Kind::Strings, way, count } => {
                self.list("strings", way, items::strings(count), &exchange, load)
            }
            Work::Transfer { kind: Kind::Records, way, count } => {
                self.list("records", way, readings(count), &exchange, load)
            }
        }
    }

    /// One run of a kernel on a used instance.
    pub(crate) fn compute(&self, kernel: Kernel, size: u32) -> anyhow::Result<(u64, Duration)> {
        let index = self.export("compute", kernel.name())?;
        let mut store = self.store()?;
        let function = self.function::<(u32,), (u64,)>(&mut store, &index)?;
        let began = Instant::now();
        let (result,) = function.call(&mut store, (size,))?;
        Ok((result, began.elapsed()))
    }

    fn list<T>(
        &self,
        kind: &str,
        way: Way,
        items: Vec<T>,
        exchange: &Exchange,
        load: Load,
    ) -> anyhow::Result<Sample>
    where
        T: ComponentType + Lift + Lower + Clone + Send + Sync + 'static,
    {
        let index = self.export("transfer", &format!("{kind}-{}", way.name()))?;
        let count = u32::try_from(items.len())?;
        let items: Arc<[T]> = items.into();
        match way {
            Way::In => self.run::<_, (u32,)>(&index, (items,), exchange, load),
            Way::Out => self.run::<_, (Vec<T>,)>(&index, (count,), exchange, load),
            Way::Echo => self.run::<_, (Vec<T>,)>(&index, (items,), exchange, load),
        }
    }

    fn run<P, R>(
        &self,
        index: &ComponentExportIndex,
        params: P,
        exchange: &Exchange,
        load: Load,
    ) -> anyhow::Result<Sample>
    where
        P: ComponentNamedList + Lower + Clone + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let mut store = self.store()?;
        let mut function = self.function::<P, R>(&mut store, index)?;
        let begin = Instant::now() + load.warm_up;
        let mut used = thread_time();
        let mut first = None;
        let mut latencies = Vec::new();
        loop {
            let sent = Instant::now();
            let counts = begin <= sent;
            if counts && first.is_none() {
                (first, used) = (Some(sent), thread_time());
            }
            if self.instances == Instances::Fresh {
                store = self.store()?;
                function = self.function::<P, R>(&mut store, index)?;
            }
            function.call(&mut store, params.clone())?;
            if counts {
                latencies.push(sent.elapsed());
            }
            if let Some(first) = first.filter(|first| load.slice <= first.elapsed()) {
                let used = thread_time().saturating_sub(used);
                return Ok(summarize(latencies, first.elapsed(), used, exchange));
            }
        }
    }

    fn store(&self) -> anyhow::Result<Store<Context>> {
        let context = Context { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, context);
        if self.checks.fuel {
            store.set_fuel(u64::MAX)?;
        }
        if self.checks.epochs {
            store.set_epoch_deadline(1 << 40);
        }
        Ok(store)
    }

    fn function<P, R>(
        &self,
        store: &mut Store<Context>,
        index: &ComponentExportIndex,
    ) -> anyhow::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let instance = self.instance.instantiate(&mut *store)?;
        Ok(instance.get_typed_func(store, index)?)
    }

    fn export(&self, interface: &str, function: &str) -> anyhow::Result<ComponentExportIndex> {
        let interface = format!("bench:work/{interface}@0.1.0");
        let instance = self.component.get_export_index(None, &interface);
        instance
            .and_then(|instance| self.component.get_export_index(Some(&instance), function))
            .with_context(|| format!("the guest has no {interface}#{function}"))
    }
}

fn readings(count: u32) -> Vec<Reading> {
    let reading =
        |sensor| Reading { sensor, name: items::TEXT.to_owned(), value: items::VALUE, valid: true };
    (1..=count).map(reading).collect()
}

fn summarize(
    mut latencies: Vec<Duration>,
    time: Duration,
    used: Duration,
    exchange: &Exchange,
) -> Sample {
    #[expect(clippy::cast_precision_loss, reason = "calls of a slice are few")]
    let calls = latencies.len() as f64;
    let rate = calls / time.as_secs_f64();
    let mut figures =
        vec![(figure::CALLS, rate), (figure::SERVER, used.as_secs_f64() / calls * 1e6)];
    figures.extend(throughput(rate, exchange.bytes()));
    figures.extend(latency(&mut latencies));
    Sample::Measured(figures)
}
