//! What every backend of native modules does, by real servers: those of the Python package, and one
//! that lies. `suite` is the same for all backends; the rest is about processes.
//!
//! The servers need the Python environment in `.venv`, which `make setup` makes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    reason = "a panic is how a test reports"
)]

mod confinement;
mod limits;
mod orphans;
mod pods;
mod processes;
mod stage;
mod suite;
mod wire;

roadstead_native::helper_in_tests!();

/// Runs each function of the suite as a test of its own, with processes.
macro_rules! with_processes {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let backend = processes::LocalProcesses::new();
                suite::$module::$name(&backend).await;
                backend.shutdown().await;
            }
        )*
    };
}

with_processes! {
    life::a_server_starts_answers_and_streams,
    life::a_server_that_is_killed_is_begun_again,
    life::a_server_that_is_stopped_is_noticed,
    life::a_server_that_is_stuck_is_noticed,
    life::an_idle_server_ends_and_a_call_begins_the_next,
    life::a_call_that_runs_is_finished_when_its_server_ends,
    life::another_version_is_ready_before_the_first_one_ends,
    life::a_version_that_is_not_to_run_says_so,
    life::replicas_share_calls_and_stand_in_for_each_other,
    life::servers_that_fail_are_begun_ever_more_seldom,
    life::kill_in_every_state_comes_to_the_same_end,
    state::what_is_durable_outlives_its_server,
    state::two_attempts_never_overlap,
    calls::a_server_is_told_who_calls_and_nothing_else,
    calls::calls_run_one_at_a_time_unless_they_may_not,
    calls::failures_keep_their_kind,
    calls::a_deadline_ends_a_call,
    calls::messages_have_bounds_both_ways,
    calls::a_broken_call_runs_again_only_where_it_may,
    calls::a_call_that_a_connection_did_not_take_goes_out_on_the_next,
    calls::streams_hold_back_who_is_faster,
    lies::a_contract_that_is_not_kept_is_never_ready,
    lies::a_server_that_is_never_well_is_never_ready,
    lies::a_contract_is_compared_over_every_connection,
    lies::answers_that_lie_are_typed_errors,
    lies::a_stream_that_was_answered_is_not_answered_again,
    lies::streams_that_lie_hurt_nobody,
    lies::a_server_that_floods_with_frames_is_ended,
    lies::a_call_that_was_given_up_keeps_its_turn,
}
