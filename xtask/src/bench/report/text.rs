//! The tables, for 110 columns.

use super::{Conditions, Report};
use crate::bench::programs::{ProgramCost, is_on_sockets};
use crate::bench::ready::Set;
use crate::bench::rounds::{Figure, HALVES, Pair};
use crate::bench::statistics::median;
use std::fmt::Write;

impl Report {
    /// The tables.
    pub fn text(&self) -> String {
        let mut text = self.head();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n{:<28} {:>9} {:>9} {:>8}  {:<18}lowest, highest",
            "", "without", "with", "ratio", "95 % interval"
        );
        for (name, figure) in [
            ("requests/s", Figure::Throughput),
            ("p99, us", Figure::P99),
            ("forwarder CPU/request, us", Figure::ForwarderCpu),
        ] {
            let _ = writeln!(text, "{name}");
            for (what, pair) in [
                ("default set", Pair::DEFAULT),
                ("all measurements", Pair::ALL),
                ("two identical halves", Pair::IDENTICAL),
            ] {
                text += &self.row(what, figure, pair);
            }
        }
        text += &self.programs();
        text += &self.sums();
        text
    }

    fn head(&self) -> String {
        let c = &self.conditions;
        let Conditions { placement, .. } = c;
        let cpus = |cpus: &[usize]| match cpus {
            [] => "any CPU".to_owned(),
            some => format!("CPU {}", some.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        };
        let place = match c.apart {
            true => "Forwarder and agent in one network namespace, load and origin in another.",
            false => {
                "All on loopback: every figure of the kernel half contains the sockets of load and origin,\n\
                 which are not on a forwarding node. As root they are kept apart."
            }
        };
        let mut text = format!(
            "h2load -> {} -> origin: {} connections with one request each{}, {} rounds of {HALVES} x {} s, seed {}\n\
             {} on {}, load ({}) and origin on {},\n\
             agent ({} build) anywhere; {}\n\
             {place}\n",
            c.forwarder,
            c.connections,
            sampling(c.sample_one_in),
            self.rounds.len(),
            c.seconds,
            c.seed,
            c.forwarder_version,
            cpus(&placement.forwarder),
            c.load_generator,
            cpus(&placement.others),
            c.machine.agent_build,
            c.machine.text(),
        );
        for (what, shares) in [
            ("forwarder on a CPU", self.halves().filter_map(|half| half.forwarder_busy).collect::<Vec<_>>()),
            ("forwarder waiting for a CPU", self.halves().filter_map(|half| half.forwarder_waited).collect()),
            ("agent's user half on a CPU", self.halves().filter_map(|half| half.agent_cpu).collect()),
        ] {
            if let Some(share) = median(&shares) {
                let _ = writeln!(text, "{what}: {:.1} % of a half (median)", 100.0 * share);
            }
        }
        let failed: u64 = self.halves().map(|half| half.load.failed).sum();
        if failed > 0 {
            let _ = writeln!(text, "{failed} requests failed");
        }
        for (what, cost) in [("the default set", &self.default), ("all measurements", &self.all)] {
            for idle in &cost.disabled {
                let _ = writeln!(text, "not in {what} here: {} ({})", idle.measurement, idle.reason);
            }
        }
        if c.disturbed_halves > 0 {
            let _ = writeln!(
                text,
                "CAUTION: in {} of {} halves other agents had programs loaded, which cost the forwarder too",
                c.disturbed_halves,
                HALVES * self.rounds.len()
            );
        }
        text
    }

    fn row(&self, what: &str, figure: Figure, pair: Pair) -> String {
        // Nanoseconds of CPU are shown as microseconds.
        let scale = if figure == Figure::ForwarderCpu { 1e-3 } else { 1.0 };
        let middle = |slot| {
            let value = median(&figure.in_slot(&self.rounds, slot));
            value.map_or("-".into(), |value| three_digits(value * scale))
        };
        let (without, with) = (middle(pair.under), middle(pair.over));
        let Some(spread) = figure.ratio(&self.rounds, pair, self.conditions.seed) else {
            return format!("  {what:<26} {without:>9} {with:>9}\n");
        };
        let between = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
        format!(
            "  {what:<26} {without:>9} {with:>9} {:>8.3}  {:<18}{}\n",
            spread.median,
            between(spread.interval),
            between(spread.range),
        )
    }

    /// What each program costs in either set; on foreign sockets too, where they were measured.
    fn programs(&self) -> String {
        let costs = [&self.default, &self.all];
        let counted = costs.map(|cost| cost.tally.programs());
        let foreign = costs.map(|cost| cost.foreign.as_ref().map(|tally| tally.programs()));
        let mut text = format!(
            "\n{:<18} {:^29}  {:^29}  {:^19}\n{:<18} {:>9} {:>9} {:>9}  {:>9} {:>9} {:>9}  {:>9} {:>9}\n",
            "",
            "default set",
            "all measurements",
            "foreign, ns/event",
            "program",
            "ns/event",
            "/request",
            "ns/req.",
            "ns/event",
            "/request",
            "ns/req.",
            "default",
            "all",
        );
        // The larger set has every program of the smaller one.
        for name in counted[1].iter().map(|program| &program.name) {
            let _ = write!(text, "{name:<18}");
            for programs in &counted {
                let cost = named(programs, name);
                let _ = write!(
                    text,
                    " {:>9} {:>9} {:>9} ",
                    whole(cost.and_then(|cost| cost.ns_per_event)),
                    cost.map_or("-".into(), |cost| format!("{:.3}", cost.events_per_request)),
                    cost.map_or("-".into(), |cost| format!("{:.1}", cost.ns_per_request)),
                );
            }
            for programs in &foreign {
                let programs = programs.as_deref().filter(|_| is_on_sockets(name)).unwrap_or_default();
                let _ =
                    write!(text, " {:>9}", whole(named(programs, name).and_then(|cost| cost.ns_per_event)));
            }
            text += "\n";
        }
        text
    }

    /// The sums of that table, with what they mean.
    fn sums(&self) -> String {
        let mut text = String::new();
        for (what, set) in [("default set", Set::Default), ("all measurements", Set::All)] {
            let cost = self.cost(set);
            let requests = cost.tally.requests();
            let residences = cost.residence_samples as f64 / requests.max(1) as f64;
            let _ = writeln!(
                text,
                "\n{what}: bpf_ns_per_request {}, over {requests} requests in halves of their own, since counting\n  \
                 costs too; residences on the way up: {residences:.2} a request",
                whole(cost.tally.ns_per_request()),
            );
            let Some(foreign) = cost.foreign.as_ref().map(|tally| tally.on_sockets()) else { continue };
            let _ = writeln!(
                text,
                "  foreign_ns_per_event {}, over {} events of sockets outside of the scope, without the forwarder; of\n  \
                 bpf_ns_per_request about {:.0} are such events of load and origin, which a forwarding node has not",
                whole(foreign.ns_per_event),
                foreign.events,
                foreign.ns_per_request,
            );
        }
        text.trim_end().to_owned()
    }
}

/// What of the connections is measured, where that is not everything.
fn sampling(one_in: u32) -> String {
    if one_in > 1 { format!(", one in {one_in} of them measured in full") } else { String::new() }
}

fn named<'a>(programs: &'a [ProgramCost], name: &str) -> Option<&'a ProgramCost> {
    programs.iter().find(|program| program.name == name)
}

fn whole(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.0}"))
}

/// Whole numbers from 100 on, decimals below.
fn three_digits(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;

    #[test]
    fn each_figure_has_both_sets_and_identical_halves() {
        let text = report().text();
        let rows: Vec<_> = text.lines().skip_while(|line| *line != "requests/s").skip(1).take(3).collect();
        assert!(rows[0].contains("default set") && rows[0].contains("19000    0.950"), "{text}");
        assert!(rows[1].contains("all") && rows[1].contains("18000    0.900"), "{text}");
        assert!(rows[2].contains("identical") && rows[2].contains("1.005"), "{text}");
        assert!(!text.contains("CAUTION"), "{text}");
        assert!(text.contains("not in all measurements here: drops (hook_absent)"), "{text}");
    }

    #[test]
    fn programs_stand_beside_what_they_cost_on_foreign_sockets() {
        let text = report().text();
        let row = text.lines().find(|line| line.starts_with("bytes_sent")).unwrap();
        let cells: Vec<_> = row.split_whitespace().skip(1).collect();
        assert_eq!(cells, ["150", "4.000", "600.0", "180", "5.000", "900.0", "30", "40"]);
        let row = text.lines().find(|line| line.starts_with("task_switch")).unwrap();
        assert!(row.trim_end().ends_with("-         -"), "{row}");
        assert!(text.contains("bpf_ns_per_request 660") && text.contains("0.99 a request"), "{text}");
        assert!(text.contains("foreign_ns_per_event 30"), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_110_columns() {
        let text = report().text();
        for line in text.lines() {
            assert!(line.chars().count() <= 110, "{}: {line}", line.chars().count());
        }
    }

    #[test]
    fn loopback_says_that_both_ends_are_in_the_figures() {
        let mut report = report();
        report.conditions.apart = false;
        (report.default.foreign, report.all.foreign) = (None, None);
        let text = report.text();
        assert!(text.contains("contains the sockets of load and origin"), "{text}");
        assert!(!text.contains("foreign_ns_per_event"), "{text}");
    }

    #[test]
    fn another_agent_on_the_machine_is_not_kept_quiet() {
        let mut report = report();
        report.conditions.disturbed_halves = 5;
        assert!(report.text().contains("CAUTION: in 5 of 18 halves"));
    }

    #[test]
    fn without_cpu_times_the_rows_have_no_ratio() {
        let mut report = report();
        report.rounds.iter_mut().flatten().for_each(|(_, half)| half.forwarder_cpu_ns_per_request = None);
        let text = report.text();
        let row = text.lines().skip_while(|line| !line.starts_with("forwarder CPU/")).nth(1).unwrap();
        assert!(row.ends_with('-'), "{row}");
    }
}
