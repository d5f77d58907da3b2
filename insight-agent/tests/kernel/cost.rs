//! What each program costs, printed: `cargo test -p insight-agent --test kernel cost -- --nocapture`.

use crate::support::{ANSWER, Bench, REQUEST};
use insight_agent::collect::kernel::settings::{Device, Forwarders};
use insight_agent::collect::kernel::{cost, hooks};
use insight_common::kernel::loss::Measurement;
use std::io::{Read, Write};

const ROUNDS: usize = 2_000;

#[test]
fn cost_of_every_program_is_counted_by_the_kernel() {
    let name = "cost_of_every_program_is_counted_by_the_kernel";
    let pid = std::process::id();
    let forwarding = |settings: &mut insight_agent::collect::kernel::settings::Settings| {
        settings.forwarders = Some(Forwarders::one(&[pid]));
        settings.devices = vec![Device::find("lo")];
    };
    let Some(bench) = Bench::start(name, &Measurement::ALL[1..], forwarding) else { return };
    let _counting = cost::count_runs().unwrap();
    for _ in 0..10 {
        let (mut near, mut far) = bench.connect();
        // Two threads, so that each answer is waited for, as a forwarder would.
        let service = std::thread::spawn(move || {
            while far.read_exact(&mut [0; REQUEST.len()]).is_ok() {
                far.write_all(&ANSWER).unwrap();
            }
        });
        for _ in 0..ROUNDS / 10 {
            near.write_all(&REQUEST).unwrap();
            near.read_exact(&mut [0; ANSWER.len()]).unwrap();
        }
        drop(near);
        service.join().unwrap();
    }
    let costs = bench.kernel.costs();
    assert_eq!(costs.len(), hooks::all().len(), "{costs:?}");
    for cost in &costs {
        let per_run = cost.per_run_ns().map_or("-".to_owned(), |ns| ns.to_string());
        println!("{:16} {:>8} runs {per_run:>6} ns", cost.program, cost.runs);
    }
    let runs = |hook: hooks::Hook| costs.iter().find(|cost| cost.program == hook.program).unwrap().runs;
    for hook in [hooks::DATA_READY, hooks::DATA_READ, hooks::SEND, hooks::TCP_EVENT] {
        assert!(runs(hook) >= ROUNDS as u64, "{hook:?} ran {} times", runs(hook));
    }
}

#[test]
fn cost_of_the_scheduler_to_threads_that_forward_nothing_is_small() {
    let name = "cost_of_the_scheduler_to_threads_that_forward_nothing_is_small";
    let wanted = [Measurement::Residence, Measurement::RunqueueWait];
    let nobody = |settings: &mut insight_agent::collect::kernel::settings::Settings| {
        // A process that is there and does nothing meanwhile.
        settings.forwarders = Some(Forwarders::one(&[2]));
    };
    let Some(bench) = Bench::start(name, &wanted, nobody) else { return };
    let _counting = cost::count_runs().unwrap();
    let (mut near, mut far) = bench.connect();
    let service = std::thread::spawn(move || {
        while far.read_exact(&mut [0; REQUEST.len()]).is_ok() {
            far.write_all(&ANSWER).unwrap();
        }
    });
    for _ in 0..ROUNDS {
        near.write_all(&REQUEST).unwrap();
        near.read_exact(&mut [0; ANSWER.len()]).unwrap();
    }
    drop(near);
    service.join().unwrap();
    for cost in bench.kernel.costs().iter().filter(|cost| cost.program.starts_with("task_")) {
        let per_run = cost.per_run_ns().unwrap_or(0);
        println!("{:16} {:>8} runs {per_run:>6} ns", cost.program, cost.runs);
        // The clock alone takes up to 50 ns of it here. A loaded machine may multiply it.
        assert!(cost.runs < 1_000 || per_run < 2_000, "{cost:?}");
    }
}
