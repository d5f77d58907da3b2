//! Whether scrapes disturb the probes: the agent's own figures for one probe, with and without.

use super::setting;
use crate::bench::http::Connection;
use crate::bench::page::Counted;
use crate::bench::rounds::{Pair, Slot, order};
use crate::bench::scrapes::{pause, scrape};
use crate::bench::statistics::{Random, Spread, median};
use anyhow::{Context, Result};
use insight_lab::Interrupt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two scrapes of a scraped quarter: a hundred times what a usual scraper does.
const EVERY: Duration = Duration::from_millis(100);

/// What the agent counted of the probe in one quarter.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quarter {
    /// Mean latency without the receiver's known delay. **Unit**: s.
    pub error_seconds: f64,
    /// Mean of how much later than scheduled probes started. **Unit**: s.
    pub lag_seconds: f64,
    /// Scrapes meanwhile, without the two that read the figures.
    pub scrapes: u32,
}

/// A quarter's figure.
pub type Figure = fn(&Quarter) -> f64;

/// All rounds of four quarters, in the order of time.
#[derive(Debug, Clone, Default)]
pub struct Accuracy(Vec<Vec<(Slot, Quarter)>>);

/// A figure while being scraped, against one without scrapes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Compared {
    /// Scraped less idle, over the rounds. **Unit**: s.
    pub scraped_less_idle: Spread,
    /// The same of two idle quarters: what the machine alone does.
    pub identical_quarters: Spread,
}

impl Accuracy {
    /// Measures `rounds` rounds of four quarters of `seconds` each.
    ///
    /// # Errors
    /// The agent does not answer, a quarter had no good sample, or somebody pressed Ctrl-C.
    pub fn measure(
        metrics: SocketAddr,
        rounds: u32,
        seconds: u64,
        seed: u64,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut random = Random::new(seed);
        let mut measured = Vec::new();
        for (number, slots) in
            order(&[Pair::DEFAULT, Pair::IDENTICAL], rounds, &mut random).into_iter().enumerate()
        {
            let mut round = Vec::new();
            for slot in slots {
                // `With` means with scrapes here.
                round.push((
                    slot,
                    quarter(metrics, slot.has_agent(), Duration::from_secs(seconds), interrupt)?,
                ));
            }
            measured.push(round);
            eprintln!("accuracy: round {} of {rounds}", number + 1);
        }
        Ok(Self(measured))
    }

    /// Median of a figure over the quarters in one slot. **None**: there are no rounds.
    pub fn middle(&self, figure: Figure, slot: Slot) -> Option<f64> {
        median(&self.in_slot(figure, slot))
    }

    /// Median over every idle quarter. **None**: there are no rounds.
    pub fn idle(&self, figure: Figure) -> Option<f64> {
        let idle = [Slot::Without, Slot::NullWith, Slot::NullWithout];
        median(&idle.map(|slot| self.in_slot(figure, slot)).concat())
    }

    /// How a figure changes with scrapes. **None**: there are no rounds.
    pub fn compared(&self, figure: Figure, seed: u64) -> Option<Compared> {
        let differences = |over, under| {
            let (over, under) = (self.in_slot(figure, over), self.in_slot(figure, under));
            let differences: Vec<f64> = over.iter().zip(&under).map(|(over, under)| over - under).collect();
            Spread::of(&differences, seed)
        };
        Some(Compared {
            scraped_less_idle: differences(Slot::With, Slot::Without)?,
            identical_quarters: differences(Slot::NullWith, Slot::NullWithout)?,
        })
    }

    /// Every quarter with the number of its round, from 1 on.
    pub fn quarters(&self) -> impl Iterator<Item = (usize, Slot, Quarter)> + '_ {
        let rounds = self.0.iter().enumerate();
        rounds.flat_map(|(at, round)| round.iter().map(move |(slot, quarter)| (at + 1, *slot, *quarter)))
    }

    fn in_slot(&self, figure: Figure, slot: Slot) -> Vec<f64> {
        self.quarters().filter(|(_, at, _)| *at == slot).map(|(.., quarter)| figure(&quarter)).collect()
    }

    /// Of figures that are already there.
    #[cfg(test)]
    pub fn of(rounds: Vec<Vec<(Slot, Quarter)>>) -> Self {
        Self(rounds)
    }
}

/// The probe's histograms at one moment.
struct Reading {
    latency: Counted,
    lag: Counted,
}

fn quarter(metrics: SocketAddr, scraped: bool, time: Duration, interrupt: &Interrupt) -> Result<Quarter> {
    let before = read(metrics)?;
    let scrapes = if scraped { scrape_for(metrics, time, interrupt)? } else { rest_for(time, interrupt)? };
    let after = read(metrics)?;
    let mean = |after: Counted, before| {
        after.mean_since(before).context("the agent counted no sample of the measured probe: see its log")
    };
    let delay = Duration::from_millis(setting::DELAY_MS).as_secs_f64();
    Ok(Quarter {
        error_seconds: mean(after.latency, before.latency)? - delay,
        lag_seconds: mean(after.lag, before.lag)?,
        scrapes,
    })
}

fn read(metrics: SocketAddr) -> Result<Reading> {
    let answer = scrape(&mut Connection::open(metrics)?, "")?;
    let page = String::from_utf8(answer.body).context("read the page as text")?;
    let counted = |family: &str| {
        Counted::read(&page, family, &[("probe", setting::MEASURED)])
            .with_context(|| format!("the page has no {family} of the probe {}", setting::MEASURED))
    };
    Ok(Reading {
        latency: counted("insight_probe_duration_seconds")?,
        lag: counted("insight_probe_schedule_lag_seconds")?,
    })
}

fn rest_for(time: Duration, interrupt: &Interrupt) -> Result<u32> {
    pause(time, interrupt)?;
    Ok(0)
}

/// Scrapes on a beat, from a thread of its own as an idle quarter's waiting is not.
fn scrape_for(metrics: SocketAddr, time: Duration, interrupt: &Interrupt) -> Result<u32> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let scraper = scope.spawn(|| -> Result<u32> {
            let mut connection = Connection::open(metrics)?;
            let (mut due, mut scrapes) = (Instant::now(), 0);
            while !over.load(Ordering::Relaxed) {
                scrape(&mut connection, "")?;
                scrapes += 1;
                // After one that took long: on with the next beat, not with a burst.
                due = (due + EVERY).max(Instant::now());
                std::thread::sleep(due - Instant::now());
            }
            Ok(scrapes)
        });
        let waited = pause(time, interrupt);
        over.store(true, Ordering::Relaxed);
        let scraped = scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        waited.and(scraped)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(scraped: f64, idle: f64) -> Vec<(Slot, Quarter)> {
        let quarter = |error_seconds| Quarter { error_seconds, lag_seconds: 0.001, scrapes: 0 };
        vec![
            (Slot::NullWith, quarter(idle)),
            (Slot::NullWithout, quarter(idle)),
            (Slot::Without, quarter(idle)),
            (Slot::With, quarter(scraped)),
        ]
    }

    #[test]
    fn a_change_is_the_difference_within_each_round() {
        // The second round is slower as a whole; each pair still says 1 ms.
        let accuracy = Accuracy::of(vec![round(0.003, 0.002), round(0.013, 0.012)]);
        let compared = accuracy.compared(|quarter| quarter.error_seconds, 1).unwrap();
        assert!((compared.scraped_less_idle.median - 0.001).abs() < 1e-9, "{compared:?}");
        assert!((compared.scraped_less_idle.range[1] - 0.001).abs() < 1e-9, "{compared:?}");
        assert_eq!(compared.identical_quarters.range, [0.0, 0.0]);
        assert_eq!(accuracy.idle(|quarter| quarter.error_seconds), Some(0.007));
        assert_eq!(accuracy.middle(|quarter| quarter.error_seconds, Slot::With), Some(0.008));
    }

    #[test]
    fn without_rounds_nothing_is_said() {
        let none = Accuracy::default();
        assert_eq!(none.compared(|quarter| quarter.lag_seconds, 1), None);
        assert_eq!(none.idle(|quarter| quarter.lag_seconds), None);
    }
}
