//! From a push to the first answer: cold, after a restart, and after the code was evicted.

use std::time::{Duration, Instant};

use super::published::small_call;
use crate::{
    figure,
    group::Group,
    host::{Host, push},
    record::{Case, Row, Sample},
    report,
    stage::{Language, Paths},
};

/// Evictions, of which the middle one counts.
const REPETITIONS: usize = 5;

pub(super) async fn measure(paths: &Paths) -> anyhow::Result<Vec<Row>> {
    let languages = paths.languages();
    let names = languages.iter().map(|language| language.name());
    let mut case = Case::new(Group::Push, "a guest", names);
    for (number, language) in languages.iter().enumerate() {
        case.add(number, one(paths, *language).await?);
    }
    Ok(case.finish())
}

async fn one(paths: &Paths, language: Language) -> anyhow::Result<Sample> {
    report::progress(format_args!("push to first call, cold: {}", language.name()));
    let upload = paths.guest(language)?.named("subject", "");
    #[expect(clippy::cast_precision_loss, reason = "a size of megabytes")]
    let size = upload.component.len() as f64 / f64::from(1 << 20);
    let data = tempfile::tempdir()?;
    // Room for one module's code at a time: calling another evicts.
    let host = Host::start(&paths.host, data.path(), &["--code-budget", "1"])?;
    let channel = host.child.connect().await?;
    let began = Instant::now();
    push(channel.clone(), upload).await?;
    small_call(&channel, "subject").await?;
    let cold = began.elapsed();

    push(channel, paths.guest(Language::Rust)?.marked("other".to_owned(), 1)).await?;
    report::progress(format_args!("restarted: {}", language.name()));
    let began = Instant::now();
    let host = host.restart()?;
    let listening = began.elapsed();
    let channel = host.child.connect().await?;
    let first = timed(small_call(&channel, "subject")).await?;

    report::progress(format_args!("evicted: {}", language.name()));
    let mut evicted = Vec::new();
    let mut warm = Vec::new();
    for _ in 0..REPETITIONS {
        small_call(&channel, "other").await?;
        evicted.push(timed(small_call(&channel, "subject")).await?);
        warm.push(timed(small_call(&channel, "subject")).await?);
    }
    Ok(Sample::Measured(vec![
        (figure::COMPONENT, size),
        (figure::PUSH, ms(cold)),
        (figure::LISTENING, ms(listening)),
        (figure::FIRST_CALL, ms(first)),
        (figure::EVICTED, ms(middle(evicted))),
        (figure::WARM, ms(middle(warm))),
    ]))
}

async fn timed(call: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    call.await?;
    Ok(began.elapsed())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
