//! Calls that stream, and those that answer with a future: the guest runs on while its caller
//! reads and writes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use roadstead_domain::Fault;
use roadstead_transcode::{
    InputPlan, OutputPlan, ResponsePlan, Shape, StreamResponse, encode_response,
    encode_stream_response,
};
use tokio::sync::oneshot;
use wasmtime::{
    AsContextMut as _, Result, StoreContextMut, bail,
    component::{
        Accessor, Func, FutureAny, FutureConsumer, FutureReader, Lift, Source, StreamAny,
        StreamReader, Val,
    },
};

use super::Guest;
use crate::{
    code::Export,
    module::Inner,
    store::{self, GuestState},
    stream::{
        ByteSink, ByteSource, End, Flow, Input, Item, ItemSink, ItemSource, Writer, begin_read,
    },
    trap,
};

type Output = Arc<Writer<End>>;

/// The guest broke what its own type promises: wasmtime does not let that happen.
const OTHER_TYPE: &str = "the result is of another type than the function's";

impl Guest {
    /// Runs one streaming call until nothing more is to be said. An instance whose call did not
    /// end well must not be used again.
    pub(crate) async fn stream(
        &mut self,
        module: &Inner,
        export: &Export,
        params: Vec<Val>,
        input: Option<Input>,
        flow: &Arc<Flow>,
        output: &Output,
    ) -> Result<(), Fault> {
        self.uses += 1;
        self.store.set_hostcall_fuel(flow.allowance() / self.loaded.bound_weight);
        self.store.data_mut().messages = flow.budget().remaining();
        let ran = self.run(export, params, input, flow, output).await;
        store::observe(&self.store);
        module.used_memory(self.store.data().limiter.bytes());
        self.store.data_mut().capabilities.end_call();
        if let Err(error) = ran {
            let own = flow.failure();
            let guests = || trap::fault_of(&error, self.store.data(), flow.limits(), flow.call);
            return Err(own.unwrap_or_else(|| flow.explained(guests())));
        }
        self.store
            .data()
            .capabilities
            .limit_exceeded()
            .map_or(Ok(()), |limit| Err(Fault::Limit(limit)))
    }

    /// Waits for the value that the function promised, if it did.
    pub(super) async fn settled(
        &mut self,
        mut results: Vec<Val>,
        response: &ResponsePlan,
    ) -> Result<Vec<Val>> {
        let Some(Val::Future(_)) = results.first() else { return Ok(results) };
        let Some(Val::Future(future)) = results.pop() else { return Ok(results) };
        let work = async |accessor: &Accessor<GuestState>| settle(accessor, future, response).await;
        Ok(self.store.run_concurrent(work).await??.into_iter().collect())
    }

    async fn run(
        &mut self,
        export: &Export,
        mut params: Vec<Val>,
        input: Option<Input>,
        flow: &Arc<Flow>,
        output: &Output,
    ) -> Result<()> {
        let Self { store, instance, .. } = self;
        let function = function(instance.get_func(&mut *store, export.index))?;
        if let (Some(plan), Some(input)) = (&flow.method.input, input) {
            let stream = stream_in(store.as_context_mut(), plan, input, flow)?;
            params.insert(plan.position.min(params.len()), stream);
        }
        let results = vec![Val::Bool(false); export.results];
        let work = async |accessor: &Accessor<GuestState>| {
            let mut results = results;
            function.call_concurrent(accessor, &params, &mut results).await?;
            respond(accessor, results.pop(), flow, output).await
        };
        store.run_concurrent(work).await?
    }
}

fn function(found: Option<Func>) -> Result<Func> {
    found.ok_or_else(|| wasmtime::Error::msg("an export is gone"))
}

/// The parameter through which the guest reads what the caller sends.
fn stream_in(
    mut store: StoreContextMut<'_, GuestState>,
    plan: &InputPlan,
    input: Input,
    flow: &Arc<Flow>,
) -> Result<Val> {
    let Input { reader, half_closed, first } = input;
    let stream = if plan.item == Shape::Bytes {
        let source = ByteSource::new(flow, plan, reader, first);
        StreamReader::new(store.as_context_mut(), source)?
            .try_into_stream_any(store.as_context_mut())?
    } else {
        let source = ItemSource::new(flow, plan, reader, first);
        StreamReader::new(store.as_context_mut(), source)?
            .try_into_stream_any(store.as_context_mut())?
    };
    if !plan.settles {
        return Ok(Val::Stream(stream));
    }
    let settled = async move {
        if half_closed.await.is_err() {
            // The caller is gone, and soon the guest.
            std::future::pending::<()>().await;
        }
        Ok::<_, wasmtime::Error>(Item(Val::Result(Ok(None))))
    };
    let settled = FutureReader::new(store.as_context_mut(), settled)?.try_into_future_any(store)?;
    Ok(Val::Tuple(vec![Val::Stream(stream), Val::Future(settled)]))
}

/// Sends what the function returned.
async fn respond(
    accessor: &Accessor<GuestState>,
    result: Option<Val>,
    flow: &Arc<Flow>,
    output: &Output,
) -> Result<()> {
    let ResponsePlan::Stream(plan) = &flow.method.response else {
        let result = match result {
            Some(Val::Future(future)) => settle(accessor, future, &flow.method.response).await?,
            other => other,
        };
        let (mut budget, limit) = (flow.budget(), flow.limits().output.of(false).0);
        let message = encode_response(&flow.method, result.as_slice(), limit, &mut budget);
        output.write([message.map_err(|error| flow.fail(flow.not_written(error)))?]);
        return Ok(());
    };
    match (plan, result) {
        (OutputPlan::Items(_), Some(Val::Stream(stream))) => {
            forward(accessor, stream, plan, flow, output).await
        }
        (OutputPlan::OrError { .. }, Some(Val::Result(Ok(Some(stream))))) => match *stream {
            Val::Stream(stream) => forward(accessor, stream, plan, flow, output).await,
            _ => bail!(OTHER_TYPE),
        },
        (OutputPlan::OrError { .. }, Some(Val::Result(Err(error)))) => {
            send_error(plan, &error, flow, output)
        }
        (OutputPlan::ThenError { .. }, Some(Val::Tuple(both))) => {
            let Ok([Val::Stream(stream), Val::Future(future)]) = <[Val; 2]>::try_from(both) else {
                bail!(OTHER_TYPE)
            };
            forward(accessor, stream, plan, flow, output).await?;
            match value_of::<Item>(accessor, future).await?.0 {
                Val::Result(Ok(None)) => Ok(()),
                Val::Result(Err(error)) => send_error(plan, &error, flow, output),
                _ => bail!(OTHER_TYPE),
            }
        }
        _ => bail!(OTHER_TYPE),
    }
}

/// Passes all items of a stream on, until the guest's end of it is gone.
async fn forward(
    accessor: &Accessor<GuestState>,
    stream: StreamAny,
    plan: &OutputPlan,
    flow: &Arc<Flow>,
    output: &Output,
) -> Result<()> {
    let ended = accessor.with(|mut access| -> Result<_> {
        if plan.is_bytes() {
            let (sink, ended) = ByteSink::new(flow, output, plan);
            stream.try_into_stream_reader::<u8>()?.pipe(&mut access, sink)?;
            Ok(ended)
        } else {
            let (sink, ended) = ItemSink::new(flow, output, plan);
            stream.try_into_stream_reader::<Item>()?.pipe(&mut access, sink)?;
            Ok(ended)
        }
    })?;
    // Nothing is ever sent: the sink is dropped in the end.
    ended.await.ok();
    Ok(())
}

fn send_error(
    plan: &OutputPlan,
    error: &Option<Box<Val>>,
    flow: &Flow,
    output: &Output,
) -> Result<()> {
    let (mut budget, limit) = (flow.budget(), flow.limits().output.of(false).0);
    let message = encode_stream_response(plan, StreamResponse::Error(error), limit, &mut budget);
    output.write([message.map_err(|error| flow.fail(flow.not_written(error)))?]);
    Ok(())
}

/// Waits for the value of a function's future; a future of nothing has none.
async fn settle(
    accessor: &Accessor<GuestState>,
    future: FutureAny,
    response: &ResponsePlan,
) -> Result<Option<Val>> {
    if *response == ResponsePlan::Empty {
        value_of::<()>(accessor, future).await?;
        return Ok(None);
    }
    Ok(Some(value_of::<Item>(accessor, future).await?.0))
}

async fn value_of<T>(accessor: &Accessor<GuestState>, future: FutureAny) -> Result<T>
where
    T: Lift + Send + Sync + 'static,
{
    let (settle, settled) = oneshot::channel();
    accessor.with(|mut access| {
        let reader = future.try_into_future_reader::<T>()?;
        reader.pipe(&mut access, Awaited { settle: Some(settle) })
    })?;
    settled.await.map_err(|_| wasmtime::Error::msg("the guest dropped what it promised"))
}

/// Takes the value of a future.
struct Awaited<T> {
    settle: Option<oneshot::Sender<T>>,
}

impl<T: Lift + Send + Sync + 'static> FutureConsumer<GuestState> for Awaited<T> {
    type Item = T;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, GuestState>,
        mut source: Source<'_, T>,
        _: bool,
    ) -> Poll<Result<()>> {
        let mut value = None;
        begin_read();
        source.read(store, &mut value)?;
        let settle = self.get_mut().settle.take();
        if let (Some(settle), Some(value)) = (settle, value) {
            settle.send(value).ok();
        }
        Poll::Ready(Ok(()))
    }
}
