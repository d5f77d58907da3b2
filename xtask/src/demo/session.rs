//! One run of the demo: answers come in, faults begin, pictures go out, until it ends.

use super::live::{Keys, Live, Wish};
use super::status::Status;
use super::summary::Summary;
use super::view::View;
use super::{Args, plain, poll};
use anyhow::{Context, Result};
use insight_lab::{Fault, Interrupt, Lab};
use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Between two plain snapshots or two lines of progress.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at the clock, the keys and the answers: below what an eye notices.
const BEAT: Duration = Duration::from_millis(100);

/// How the run is shown.
pub enum Face {
    /// A picture on the terminal, drawn again and again.
    Live,
    /// Snapshots on stdout, without escape sequences.
    Plain,
    /// Nothing on stdout; a line of progress on stderr.
    Silent,
}

impl Face {
    /// True for the picture on a terminal.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }
}

/// A run and what it has seen.
pub struct Session<'a> {
    /// The figures of the run.
    pub summary: Summary,
    args: &'a Args,
    duration: Option<Duration>,
    interrupt: &'a Interrupt,
    answers: Receiver<Result<Status>>,
    started: Instant,
    /// Faults that shall begin once their time has come.
    to_come: Vec<Fault>,
    active: Vec<Fault>,
    /// Why the last answer was none. **None**: it was one.
    trouble: Option<String>,
    /// The address of Prometheus, if it runs.
    prometheus: Option<String>,
    /// Whether the run's nodes have namespaces.
    namespaces: bool,
}

impl<'a> Session<'a> {
    /// Begins to ask the sending agent.
    ///
    /// # Errors
    /// The asking thread cannot be created.
    pub fn new(
        args: &'a Args,
        duration: Option<Duration>,
        lab: &Lab,
        interrupt: &'a Interrupt,
        prometheus: Option<String>,
    ) -> Result<Self> {
        Ok(Self {
            summary: Summary::default(),
            args,
            duration,
            interrupt,
            answers: poll::start(lab.eu().admin)?,
            started: Instant::now(),
            to_come: args.fault.clone(),
            active: Vec::new(),
            trouble: None,
            prometheus,
            namespaces: lab.place("mediary-a").is_some(),
        })
    }

    /// Shows the run until its time is over, somebody quits, or a signal comes. The last picture
    /// stays on the terminal.
    ///
    /// # Errors
    /// A fault cannot be injected, or the picture cannot be shown.
    pub fn run(&mut self, lab: &mut Lab, face: Face) -> Result<()> {
        match face {
            Face::Live => {
                let keys = Keys { namespaces: self.namespaces };
                let (mut live, hint) = (Live::enter(keys)?, keys.hint());
                self.until_the_end(lab, |session| live.show(&session.view(&hint), BEAT))?;
                drop(live);
                print(&self.snapshot())
            }
            Face::Plain => {
                let mut next = SNAPSHOT_EVERY;
                self.until_the_end(lab, |session| {
                    if session.started.elapsed() >= next {
                        next += SNAPSHOT_EVERY;
                        print(&(session.snapshot() + "\n"))?;
                    }
                    Ok(session.interrupt.wait(BEAT).then_some(Wish::Quit))
                })?;
                print(&self.snapshot())
            }
            Face::Silent => {
                let mut next = SNAPSHOT_EVERY;
                self.until_the_end(lab, |session| {
                    if session.started.elapsed() >= next {
                        next += SNAPSHOT_EVERY;
                        eprintln!("{}", session.progress());
                    }
                    Ok(session.interrupt.wait(BEAT).then_some(Wish::Quit))
                })
            }
        }
    }

    /// Calls `show` once a beat; it waits for the beat itself and says what somebody wants.
    fn until_the_end(
        &mut self,
        lab: &mut Lab,
        mut show: impl FnMut(&mut Self) -> Result<Option<Wish>>,
    ) -> Result<()> {
        loop {
            self.begin_faults(lab)?;
            while let Ok(answer) = self.answers.try_recv() {
                match answer {
                    Ok(status) => {
                        self.summary.take(&status);
                        self.trouble = None;
                    }
                    Err(error) => self.trouble = Some(format!("{error:#}")),
                }
            }
            let over = self.duration.is_some_and(|duration| self.started.elapsed() >= duration);
            if over || self.interrupt.requested() {
                return Ok(());
            }
            match show(self)? {
                Some(Wish::Quit) => return Ok(()),
                Some(Wish::Toggle(fault)) => self.toggle(lab, &fault)?,
                None => {}
            }
        }
    }

    fn begin_faults(&mut self, lab: &mut Lab) -> Result<()> {
        let due = self.started.elapsed() >= self.args.fault_after.unwrap_or_default();
        if due {
            for fault in self.to_come.drain(..) {
                lab.inject(&fault)?;
            }
            self.active = lab.faults().to_vec();
        }
        Ok(())
    }

    fn toggle(&mut self, lab: &mut Lab, fault: &Fault) -> Result<()> {
        match lab.faults().iter().find(|active| active.name() == fault.name()).copied() {
            Some(active) => lab.clear(&active)?,
            None => lab.inject(fault)?,
        }
        self.active = lab.faults().to_vec();
        Ok(())
    }

    /// The faults in force, as one writes them.
    pub fn faults(&self) -> Vec<String> {
        self.active.iter().map(ToString::to_string).collect()
    }

    /// Why the agent's last answer was none. **None**: it answered.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn view(&self, hint: &str) -> View {
        let coming = (!self.to_come.is_empty()).then(|| {
            let faults = self.to_come.iter().map(ToString::to_string).collect();
            (faults, self.args.fault_after.unwrap_or_default())
        });
        let trouble = self.trouble.as_ref().map(|trouble| format!("the agent does not answer: {trouble}"));
        let prometheus = self.prometheus.as_ref().map(|url| format!("prometheus: {url}"));
        let notice: Vec<String> = trouble.into_iter().chain(prometheus).collect();
        View {
            status: self.summary.latest().cloned(),
            forwarder: self.args.forwarder.to_string(),
            elapsed: self.started.elapsed(),
            duration: self.duration,
            faults: self.faults(),
            coming,
            background_rps: self.args.background,
            notice: (!notice.is_empty()).then(|| notice.join("\n")),
            hint: hint.into(),
            colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    fn snapshot(&self) -> String {
        plain::render(&self.view(""))
    }

    /// One line: how far, how many.
    fn progress(&self) -> String {
        let probe = self.summary.latest().and_then(Status::main_probe);
        let figure = |value: Option<u64>| value.map_or("—".into(), |value| value.to_string());
        let mut line = format!(
            "{} s: {} probes sent, {} ok",
            self.started.elapsed().as_secs(),
            figure(probe.and_then(|probe| probe.sent)),
            figure(probe.and_then(|probe| probe.ok)),
        );
        if let Some(trouble) = &self.trouble {
            line += &format!("; the agent does not answer: {trouble}");
        }
        line
    }
}

/// Writes `text`; a reader that has gone away is an error and no panic.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to stdout")
}
