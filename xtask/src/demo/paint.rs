//! What every part of the view is painted with: figures, room and colour.

use ratatui::style::{Color, Modifier, Style};

/// Seconds as milliseconds with about three digits; `—` where there is none.
pub fn milliseconds(seconds: Option<f64>) -> String {
    let Some(ms) = seconds.map(|seconds| seconds * 1e3).filter(|ms| ms.is_finite()) else {
        return "—".into();
    };
    let text = match ms.abs() {
        size if size < 9.9995 => format!("{ms:.3}"),
        size if size < 99.995 => format!("{ms:.2}"),
        size if size < 999.95 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    };
    // A negative that rounds to nothing reads as a defect of the printer.
    if text == "-0.000" { "0.000".into() } else { text }
}

/// At most `width` characters; what is cut ends in `…`.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('…')).collect()
}

/// The few styles there are; without colour they differ by weight alone.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// Whether colour is welcome.
    pub colour: bool,
}

impl Palette {
    /// What the eye shall find first.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is there when one looks for it.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub fn bar(self, emphasis: bool) -> Style {
        match (self.colour, emphasis) {
            (true, true) => Style::new().fg(Color::Yellow),
            (true, false) => Style::new().fg(Color::Cyan),
            (false, _) => Style::new(),
        }
    }

    pub fn warning(self) -> Style {
        if self.colour { Style::new().fg(Color::Yellow) } else { self.strong() }
    }

    pub fn alarm(self) -> Style {
        if self.colour { Style::new().fg(Color::Red) } else { self.strong() }
    }
}
