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
}

impl Live {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be switched.
    pub fn enter() -> Result<Self> {
        Ok(Self { terminal: ratatui::try_init().context("take over the terminal")? })
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
                    if let Some(wish) = wish(&key) {
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

/// The keys, for the picture's last line.
pub const KEYS: &str = "w g s m faults  q quits";

/// `q`, Escape, and Ctrl-C, which raw mode delivers as a key and not as a signal; and the first
/// letter of each fault.
fn wish(key: &KeyEvent) -> Option<Wish> {
    if key.kind != KeyEventKind::Press {
        return None;
    }
    match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
        (KeyCode::Char('c'), true) | (KeyCode::Char('q') | KeyCode::Esc, false) => Some(Wish::Quit),
        (KeyCode::Char(letter), false) => {
            let name = Fault::NAMES.into_iter().find(|name| name.starts_with(letter))?;
            name.parse().ok().map(Wish::Toggle)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Option<Wish> {
        wish(&KeyEvent::new(code, modifiers))
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
    fn every_fault_has_the_key_that_the_last_line_names() {
        for name in Fault::NAMES {
            let letter = name.chars().next().unwrap();
            assert!(KEYS.split(' ').any(|word| word == letter.to_string()), "{letter} is not in {KEYS:?}");
            let Some(Wish::Toggle(fault)) = pressed(KeyCode::Char(letter), KeyModifiers::NONE) else {
                panic!("{letter} toggles nothing");
            };
            assert_eq!(fault.name(), name);
        }
    }
}
