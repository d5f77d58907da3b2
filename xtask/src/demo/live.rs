//! The terminal while the picture is on it.

use super::view::{View, draw};
use anyhow::{Context, Result};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use insight_lab::Fault;
use ratatui::DefaultTerminal;
use std::time::{Duration, Instant};

/// Owns the terminal: alternate screen and raw mode, until it is dropped. A panic gives the
/// terminal back too, before its message is printed.
pub struct Live {
    terminal: DefaultTerminal,
    keys: Keys,
}

impl Live {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be switched.
    pub fn enter(keys: Keys) -> Result<Self> {
        Ok(Self { terminal: ratatui::try_init().context("take over the terminal")?, keys })
    }

    /// Draws, then waits for `beat` for a key. **None**: none that means anything came.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&mut self, view: &View, beat: Duration) -> Result<Option<Wish>> {
        self.terminal.draw(|frame| draw(frame, view)).context("draw on the terminal")?;
        let deadline = Instant::now() + beat;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !event::poll(left).context("wait for a key")? {
                return Ok(None);
            }
            match event::read().context("read a key")? {
                Event::Key(key) => {
                    if let Some(wish) = self.keys.wish(&key) {
                        return Ok(Some(wish));
                    }
                }
                Event::Resize(..) => return Ok(None), // draw at the new size, now
                _ => {}
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// What somebody at the keys wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// End the demo.
    Quit,
    /// Begin this fault at its default size, or end it.
    Toggle(Fault),
}

/// The keys of faults: those of every run, and those of a run in namespaces.
const FAULTS: [(char, &str); 4] =
    [('w', "wan-delay"), ('g', "gateway-slow"), ('s', "service-slow"), ('m', "mediary-a-down")];
const NAMESPACE_FAULTS: [(char, &str); 2] = [('b', "mediary-a-busy"), ('t', "mediary-a-throttled")];

/// Which keys mean something.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// Whether the run can be given the faults that need namespaces.
    pub namespaces: bool,
}

impl Keys {
    fn faults(self) -> impl Iterator<Item = (char, &'static str)> {
        let more = if self.namespaces { &NAMESPACE_FAULTS[..] } else { &[] };
        FAULTS.iter().chain(more).copied()
    }

    /// The keys, for the picture's last line.
    pub fn hint(self) -> String {
        let letters: String = self.faults().map(|(letter, _)| format!("{letter} ")).collect();
        format!("{letters}faults  q quits")
    }

    /// `q`, Escape, and Ctrl-C, which raw mode delivers as a key and not as a signal; and the
    /// letter of each fault.
    fn wish(self, key: &KeyEvent) -> Option<Wish> {
        if key.kind != KeyEventKind::Press {
            return None;
        }
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            (KeyCode::Char('c'), true) | (KeyCode::Char('q') | KeyCode::Esc, false) => Some(Wish::Quit),
            (KeyCode::Char(letter), false) => {
                let (_, name) = self.faults().find(|(key, _)| *key == letter)?;
                name.parse().ok().map(Wish::Toggle)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Option<Wish> {
        Keys { namespaces: true }.wish(&KeyEvent::new(code, modifiers))
    }

    #[test]
    fn q_escape_and_control_c_quit() {
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::NONE), Some(Wish::Quit));
        assert_eq!(pressed(KeyCode::Esc, KeyModifiers::NONE), Some(Wish::Quit));
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Wish::Quit));
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(pressed(KeyCode::Enter, KeyModifiers::NONE), None);
    }

    #[test]
    fn every_fault_has_a_key_of_its_own_that_the_last_line_names() {
        let keys = Keys { namespaces: true };
        let mut letters: Vec<char> = keys.faults().map(|(letter, _)| letter).collect();
        let hint = keys.hint();
        assert!(
            letters.iter().all(|letter| hint.split(' ').any(|word| word == letter.to_string())),
            "{hint}"
        );
        for name in Fault::NAMES.into_iter().chain(Fault::NAMESPACE_NAMES) {
            let (letter, _) = keys.faults().find(|(_, of)| *of == name).unwrap();
            let wish = pressed(KeyCode::Char(letter), KeyModifiers::NONE);
            assert!(matches!(wish, Some(Wish::Toggle(fault)) if fault.name() == name), "{name}: {wish:?}");
        }
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), Fault::NAMES.len() + Fault::NAMESPACE_NAMES.len());
    }

    #[test]
    fn without_namespaces_their_faults_have_no_key() {
        let keys = Keys { namespaces: false };
        assert_eq!(keys.hint(), "w g s m faults  q quits");
        assert_eq!(keys.wish(&KeyEvent::new(KeyCode::Char('b'), KeyModifiers::NONE)), None);
    }
}
