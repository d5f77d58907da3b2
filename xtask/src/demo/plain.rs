//! The same picture as text without escape sequences, for logs and pipes.

use super::view::View;

/// Columns of a plain snapshot: wide enough for the bounds, narrow enough for a log viewer.
const WIDTH: u16 = 110;
/// More lines than a snapshot ever has, so that its parts are set apart.
const HEIGHT: u16 = 60;

/// The picture, line by line, without trailing blanks.
pub fn render(view: &View) -> String {
    let mut text = String::new();
    for line in view.lines(WIDTH, HEIGHT) {
        let line: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_no_escape_sequence_and_no_invented_zero() {
        let text = render(&View { colour: true, forwarder: "nginx".into(), ..View::default() });
        assert!(!text.contains('\u{1b}'));
        assert!(text.contains("— → —  median — ms"), "{text}");
        assert!(text.contains("waiting for the first complete window"), "{text}");
    }
}
