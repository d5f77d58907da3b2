//! Did every measurement run, and did every injected delay come back? Pure.
//!
//! An emulated machine is slow, and slower when the host is busy: what takes a millisecond
//! elsewhere takes ten. So no mean is compared. All that is injected are lower bounds: behind a
//! delay hardly any sample may be shorter, and without it some are: a tenth is asked for, where a third
//! was the least that was seen. And a quarter of the delayed ones must stay below eight times the
//! bound, or the figure is of something else.

use super::console::Console;
use crate::bench::page;

/// Added to all packets that the far side sends. **Unit**: ms.
const NETEM_MS: u32 = 150;
/// For which the forwarder holds each request within a turn of its event loop. **Unit**: ms.
const SPIN_MS: u32 = 20;
/// For which the forwarder is stopped, each time. **Unit**: ms.
const STOP_MS: u32 = 600;

/// Fewer samples than that are no evidence, of either phase.
const FEWEST: f64 = 5.0;

/// What is injected, as the guest's shell reads it.
pub fn injected() -> String {
    format!("NETEM_MS={NETEM_MS}\nSPIN_MS={SPIN_MS}\nSTOP_MS={STOP_MS}\n")
}

/// A delay that must come back in a measurement.
#[derive(Debug)]
struct Delay {
    measurement: &'static str,
    family: &'static str,
    labels: &'static [(&'static str, &'static str)],
    /// The phase with it; the one without is [`QUIET`].
    phase: &'static str,
    /// In words, for the table.
    injected: &'static str,
    /// The largest bound of the histogram that is no longer than the delay.
    bound: &'static str,
    /// Eight times the bound.
    most: &'static str,
    /// Share of the quiet samples that must be below the bound.
    quiet_below: f64,
    /// Share of the delayed samples that must be above it.
    delayed_above: f64,
}

/// The phase without any delay.
const QUIET: &str = "quiet";

/// Every delay.
const DELAYS: [Delay; 5] = [
    Delay {
        measurement: "socket_rtt",
        family: "insight_socket_rtt_seconds",
        labels: &[("peer", "far"), ("role", "connected")],
        phase: "delayed",
        injected: "netem 150 ms",
        bound: "0.033554432",
        most: "0.268435456",
        // On 6.1 a moving average rises slowly: a lower bound than the delay's. Above it are also the
        // far side's delayed acknowledgements, of 40 ms; handshakes are without.
        quiet_below: 0.1,
        delayed_above: 0.95,
    },
    Delay {
        measurement: "receive_wait",
        family: "insight_socket_receive_wait_seconds",
        labels: &[("role", "accepted")],
        phase: "stopped",
        injected: "forwarder stopped for 600 ms",
        bound: "0.268435456",
        most: "2.147483648",
        // A busy host alone made a quarter of them longer than 67 ms.
        quiet_below: 0.9,
        // It runs in between, and a request can come at the end of a stop.
        delayed_above: 0.15,
    },
    Delay {
        measurement: "turnaround",
        family: "insight_socket_turnaround_seconds",
        labels: &[("peer", "callers")],
        phase: "delayed",
        injected: "netem 150 ms, spin 20 ms",
        bound: "0.134217728",
        most: "1.073741824",
        quiet_below: 0.1,
        // The forwarder itself answers the SETTINGS of a fresh connection, if they come alone.
        delayed_above: 0.7,
    },
    Delay {
        measurement: "response",
        family: "insight_socket_response_seconds",
        labels: &[("peer", "far")],
        phase: "delayed",
        injected: "netem 150 ms",
        bound: "0.134217728",
        most: "1.073741824",
        quiet_below: 0.1,
        delayed_above: 0.9,
    },
    Delay {
        measurement: "residence",
        family: "insight_forward_residence_seconds",
        labels: &[("direction", "up")],
        phase: "delayed",
        injected: "spin 20 ms",
        bound: "0.016777216",
        most: "0.134217728",
        quiet_below: 0.1,
        // A connection's SETTINGS, and the rest of a request that came in two, are not held.
        delayed_above: 0.7,
    },
];

/// One measurement on one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its name.
    pub measurement: String,
    /// What is injected to check it. **None**: nothing is, its state alone counts.
    pub injected: Option<&'static str>,
    /// What stands in the table: its state with the reason, and whether the delay came back.
    pub text: String,
    /// Why it is wrong, whatever the table says. **None**: it is not.
    pub problem: Option<String>,
}

/// What one machine's console says of every measurement of the kernel half, by name.
///
/// # Errors
/// A page is missing, or tells no states.
pub fn judge(console: &Console) -> Result<Vec<Cell>, String> {
    let last = page_of(console, "stopped-end")?;
    let mut cells: Vec<Cell> = Vec::new();
    for (measurement, state, reason) in states(last) {
        let active = state == "active";
        let mut text = if active { state.clone() } else { format!("{state}: `{reason}`") };
        let smoothed = [("loss", "smoothed"), ("measurement", measurement.as_str())];
        if page::sum(last, "insight_lost_total", &smoothed).unwrap_or(0.0) > 0.0 {
            text += ", smoothed";
        }
        let delay = DELAYS.iter().find(|delay| delay.measurement == measurement);
        let mut problem = None;
        if let Some(delay) = delay.filter(|_| active) {
            match delay.came_back(console)? {
                Ok(()) => text += "; came back",
                Err(why) => {
                    problem = Some(format!("{measurement}: {} did not come back: {why}", delay.injected))
                }
            }
        }
        cells.push(Cell { measurement, injected: delay.map(|delay| delay.injected), text, problem });
    }
    if cells.is_empty() {
        return Err("the agent tells no state of any kernel measurement".to_owned());
    }
    // The table that they rest on has no state of its own, and listeners and connections at any time.
    let entries = page::sum(last, "insight_bpf_table_entries", &[("table", "sockets")]);
    let is_counted = entries.is_some_and(|entries| entries > 0.0);
    cells.push(Cell {
        measurement: "sockets".to_owned(),
        injected: None,
        text: if is_counted { "counted" } else { "not counted" }.to_owned(),
        problem: None,
    });
    cells.sort_by(|one, other| one.measurement.cmp(&other.measurement));
    Ok(cells)
}

fn page_of<'a>(console: &'a Console, name: &str) -> Result<&'a str, String> {
    console.pages.get(name).map(String::as_str).ok_or_else(|| format!("the console has no page {name}"))
}

/// Measurement, state and reason of everything that the agent's kernel half measures.
fn states(page: &str) -> Vec<(String, String, String)> {
    let lines = page.lines().filter(|line| line.starts_with("insight_measurement_state{"));
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let found = lines.filter_map(|line| {
        Some((label(line, "measurement")?, label(line, "state")?, label(line, "reason")?))
    });
    // These are not the kernel half's.
    found.filter(|(name, ..)| !["host", "probe", "service_timing"].contains(&name.as_str())).collect()
}

impl Delay {
    /// Whether it came back; the inner error says what was found.
    ///
    /// # Errors
    /// A page is missing.
    fn came_back(&self, console: &Console) -> Result<Result<(), String>, String> {
        let (quiet, delayed) = (self.counts(console, QUIET)?, self.counts(console, self.phase)?);
        let found = format!(
            "of {} samples without it {} were up to {} s; of {} with it {} were, and {} up to {} s",
            quiet.all, quiet.below, self.bound, delayed.all, delayed.below, delayed.below_most, self.most
        );
        let enough = quiet.all >= FEWEST && delayed.all >= FEWEST;
        let above = delayed.all - delayed.below;
        let within = delayed.below_most - delayed.below;
        let good = enough
            && quiet.below >= self.quiet_below * quiet.all
            && above >= self.delayed_above * delayed.all
            && within >= 0.25 * above;
        Ok(if good { Ok(()) } else { Err(found) })
    }

    /// The samples of one phase.
    fn counts(&self, console: &Console, phase: &str) -> Result<Counts, String> {
        let begin = page_of(console, &format!("{phase}-begin"))?;
        let end = page_of(console, &format!("{phase}-end"))?;
        let added = |suffix: &str, bound: Option<&'static str>| {
            let name = format!("{}{suffix}", self.family);
            let labels: Vec<_> =
                self.labels.iter().copied().chain(bound.map(|bound| ("le", bound))).collect();
            let read = |page| page::sum(page, &name, &labels).unwrap_or(0.0);
            read(end) - read(begin)
        };
        Ok(Counts {
            all: added("_count", None),
            below: added("_bucket", Some(self.bound)),
            below_most: added("_bucket", Some(self.most)),
        })
    }
}

/// Samples of a phase: all, up to the bound, up to eight times the bound.
struct Counts {
    all: f64,
    below: f64,
    below_most: f64,
}

#[cfg(test)]
mod tests {
    use super::super::console::End;
    use super::*;

    /// A console whose response histogram had these counts (up to the bound, up to eight times, all)
    /// in the two phases.
    fn console(quiet: [u32; 3], delayed: [u32; 3], state: &str) -> Console {
        let page = |[below, most, all]: [u32; 3]| {
            let name = "insight_socket_response_seconds";
            format!(
                "{name}_bucket{{peer=\"far\",le=\"0.134217728\"}} {below}\n{name}_bucket{{peer=\"far\",le=\"1.073741824\"}} \
                 {most}\n{name}_count{{peer=\"far\"}} {all}\n{state}"
            )
        };
        let sum = |index: usize| quiet[index] + delayed[index];
        let zero = page([0; 3]);
        let pages = [
            ("quiet-begin", zero),
            ("quiet-end", page(quiet)),
            ("delayed-begin", page(quiet)),
            ("delayed-end", page([sum(0), sum(1), sum(2)])),
            ("stopped-end", page([sum(0), sum(1), sum(2)])),
        ];
        let pages = pages.map(|(name, page)| (name.to_owned(), page));
        Console { kernel: None, booted: None, started: None, pages: pages.into(), end: End::Done }
    }

    const ACTIVE: &str = "insight_measurement_state{node=\"near\",measurement=\"response\",state=\"active\",reason=\"\"} 1\n\
         insight_measurement_state{node=\"near\",measurement=\"probe\",state=\"active\",reason=\"\"} 1\n";

    fn only(console: &Console) -> Cell {
        let cells = judge(console).unwrap();
        let names: Vec<_> = cells.iter().map(|cell| cell.measurement.as_str()).collect();
        assert_eq!(names, ["response", "sockets"], "{cells:?}");
        cells.into_iter().next().unwrap()
    }

    #[test]
    fn samples_that_all_moved_above_the_bound_are_the_delay() {
        let cell = only(&console([30, 31, 31], [0, 20, 31], ACTIVE));
        assert_eq!((cell.text.as_str(), cell.problem), ("active; came back", None));
        assert_eq!(cell.injected, Some("netem 150 ms"));
    }

    #[test]
    fn a_delay_that_is_missing_too_long_or_there_before_does_not_come_back() {
        let lost = |quiet, delayed| only(&console(quiet, delayed, ACTIVE)).problem.unwrap_or_default();
        assert!(lost([30, 31, 31], [30, 31, 31]).contains("of 31 with it 30 were"), "not delayed");
        assert!(lost([30, 31, 31], [0, 2, 31]).contains("2 up to 1.073741824"), "far too long");
        assert!(lost([2, 31, 31], [0, 31, 31]).contains("without it 2"), "long before");
        assert!(lost([4, 4, 4], [0, 31, 31]).contains("of 4 samples"), "too few");
    }

    #[test]
    fn what_is_not_active_is_named_with_its_reason_and_not_judged() {
        let state = ACTIVE.replacen("active\",reason=\"", "disabled\",reason=\"hook_absent", 1);
        let cell = only(&console([0; 3], [0; 3], &state));
        assert_eq!((cell.text.as_str(), cell.problem), ("disabled: `hook_absent`", None));
    }

    #[test]
    fn the_table_of_sockets_is_counted_where_the_page_says_how_many_are_in_it() {
        let entries = |line: &str| {
            let cells = judge(&console([0; 3], [0; 3], &format!("{ACTIVE}{line}"))).unwrap();
            cells.into_iter().find(|cell| cell.measurement == "sockets").unwrap().text
        };
        let line = |count| format!("insight_bpf_table_entries{{table=\"sockets\"}} {count}\n");
        assert_eq!(entries(&line(12)), "counted");
        assert_eq!([entries(&line(0)), entries("")], ["not counted"; 2]);
    }

    #[test]
    fn a_page_that_is_missing_or_empty_is_an_error() {
        assert!(judge(&console([0; 3], [0; 3], "")).unwrap_err().contains("no state"));
        let mut torn = console([30, 31, 31], [0, 20, 31], ACTIVE);
        torn.pages.remove("delayed-begin");
        assert!(judge(&torn).unwrap_err().contains("delayed-begin"));
    }

    #[test]
    fn bounds_are_the_histograms_and_no_longer_than_what_is_injected() {
        let ms = |text: &str| text.parse::<f64>().unwrap() * 1e3;
        for delay in DELAYS {
            let injected = match delay.injected {
                "spin 20 ms" => SPIN_MS,
                "forwarder stopped for 600 ms" => STOP_MS,
                _ => NETEM_MS,
            };
            assert!(delay.injected.contains(&format!("{injected} ms")), "{delay:?}");
            assert!(ms(delay.bound) <= f64::from(injected), "{delay:?}");
            assert!((ms(delay.most) - 8.0 * ms(delay.bound)).abs() < 1e-6, "{delay:?}");
            // Powers of two, from 1,024 ns on.
            let steps = (ms(delay.bound) / 0.001_024).log2();
            assert!((steps - steps.round()).abs() < 1e-6, "{delay:?}");
        }
    }
}
