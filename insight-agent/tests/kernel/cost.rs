//! What each program costs, printed: `cargo test -p insight-agent --test kernel cost -- --nocapture`.

use crate::support::{ANSWER, Bench, REQUEST};
use insight_agent::collect::kernel::{cost, hooks::Hook};
use insight_common::kernel::loss::Measurement;
use std::io::{Read, Write};

const ROUNDS: usize = 2_000;

#[test]
fn cost_of_every_program_is_counted_by_the_kernel() {
    let name = "cost_of_every_program_is_counted_by_the_kernel";
    let pid = std::process::id();
    let forwarding = |settings: &mut insight_agent::collect::kernel::settings::Settings| {
        settings.forwarders = vec![pid];
    };
    let Some(bench) = Bench::start(name, &Measurement::ALL[1..], forwarding) else { return };
    let _counting = cost::count_runs().unwrap();
    for _ in 0..10 {
        let (mut near, mut far) = bench.connect();
        for _ in 0..ROUNDS / 10 {
            near.write_all(&REQUEST).unwrap();
            far.read_exact(&mut [0; REQUEST.len()]).unwrap();
            far.write_all(&ANSWER).unwrap();
            near.read_exact(&mut [0; ANSWER.len()]).unwrap();
        }
    }
    let costs = bench.kernel.costs();
    assert_eq!(costs.len(), Hook::ALL.len(), "{costs:?}");
    for cost in &costs {
        let per_run = cost.per_run_ns().map_or("-".to_owned(), |ns| ns.to_string());
        println!("{:16} {:>8} runs {per_run:>6} ns", cost.hook.program(), cost.runs);
    }
    let runs = |hook| costs.iter().find(|cost| cost.hook == hook).unwrap().runs;
    for hook in [Hook::DataReady, Hook::DataRead, Hook::Send, Hook::Receive, Hook::TcpEvent] {
        assert!(runs(hook) >= ROUNDS as u64, "{hook:?} ran {} times", runs(hook));
    }
}
