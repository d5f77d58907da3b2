//! The answer for people: one line per check, what to do below it, within 100 columns.

use crate::model::doctor::{Check, Diagnosis, Status};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Columns of a line.
const WIDTH: usize = 100;

/// Columns before a check's name: two of margin, the status, two between.
const NAME_AT: usize = 2 + 7 + 2;

/// The longest name that widens its column; a longer one pushes its own line.
const NAME_WIDTH: usize = 26;

/// Everything that `doctor` prints. Writing into a `String` cannot fail, so results are dropped.
pub(super) fn render(diagnosis: &Diagnosis, colour: bool) -> String {
    let mut out = String::new();
    let release = diagnosis.facts.system.release.as_deref().unwrap_or("of an unknown release");
    let config = diagnosis.config.as_deref().unwrap_or("no configuration: the defaults, for the whole host");
    let head = format!("insight-agent {} on Linux {release}; {config}", diagnosis.version);
    wrap(&head, WIDTH).iter().for_each(|line| {
        let _ = writeln!(out, "{line}");
    });
    let names = diagnosis.checks.iter().map(|check| check.name.chars().count());
    let name_width = names.filter(|length| *length <= NAME_WIDTH).max().unwrap_or(0);
    let mut group = None;
    let mut said = BTreeSet::new();
    for check in &diagnosis.checks {
        if group.replace(check.group) != Some(check.group) {
            let _ = writeln!(out, "\n{}", check.group.as_str());
        }
        lines(&mut out, check, name_width, &mut said, colour);
    }
    summary(&mut out, diagnosis, colour);
    out
}

/// The lines of a check. What the system said and what to do are told once: where one cause stops
/// everything, the page must stay short enough to be read.
fn lines<'a>(
    out: &mut String,
    check: &'a Check,
    name_width: usize,
    said: &mut BTreeSet<&'a str>,
    colour: bool,
) {
    let text_at = NAME_AT + name_width + 2;
    let status = painted(check.status, &format!("{:<7}", check.status.as_str()), colour);
    let mut found = wrap(&check.found, WIDTH - text_at).into_iter();
    let _ = writeln!(out, "  {status}  {:<name_width$}  {}", check.name, found.next().unwrap_or_default());
    let detail = check.detail.as_deref().filter(|detail| said.insert(detail));
    for line in found.chain(detail.iter().flat_map(|detail| wrap(detail, WIDTH - text_at))) {
        let _ = writeln!(out, "{:text_at$}{line}", "");
    }
    if let Some(advice) = check.advice.as_deref().filter(|advice| said.insert(advice)) {
        for (at, line) in wrap(advice, WIDTH - text_at - 3).into_iter().enumerate() {
            let mark = if at == 0 { "->" } else { "  " };
            let _ = writeln!(out, "{:text_at$}{mark} {line}", "");
        }
    }
}

fn summary(out: &mut String, diagnosis: &Diagnosis, colour: bool) {
    let counts = diagnosis.counts;
    let warnings = if counts.warning == 1 { "warning" } else { "warnings" };
    let text = format!(
        "{} failing, {} {warnings}, {} ok, {} off",
        counts.failing, counts.warning, counts.ok, counts.off
    );
    let _ = writeln!(out, "\n{}", painted(diagnosis.status, &text, colour));
    let failing = diagnosis.checks.iter().filter(|check| check.status == Status::Failing);
    let names: Vec<String> =
        failing.map(|check| format!("{}/{}", check.group.as_str(), check.name)).collect();
    for line in wrap(&names.join(", "), WIDTH - 2).iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "  {line}");
    }
}

fn painted(status: Status, text: &str, colour: bool) -> String {
    let code = match status {
        Status::Ok => "32",
        Status::Warning => "33",
        Status::Failing => "1;31",
        Status::Off => "2",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Lines of at most `width` columns, broken between words. A word that is longer is broken too: an
/// address or a path must not widen the page.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        let mut line = lines.pop().unwrap_or_default();
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for letter in word.chars() {
            if used == width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(letter);
            used += 1;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::doctor::{Facts, Group};

    fn diagnosis() -> Diagnosis {
        let long = "attach program tcp_event: `bpf_link_create` failed ".repeat(5) + &"x".repeat(150);
        let checks = vec![
            Check::new(Group::Kernel, "btf", Status::Ok, "/sys/kernel/btf/vmlinux: 5467543 bytes"),
            Check::new(Group::Kernel, "bpf_jit", Status::Off, "not known"),
            Check::new(Group::Measurements, "socket_rtt", Status::Failing, long)
                .advise("grant CAP_NET_ADMIN ".repeat(10)),
            Check::new(Group::Neighbours, "a_name_that_is_longer_than_its_column", Status::Warning, "x"),
        ];
        Diagnosis::new("0.1.0", None, checks, Facts::default())
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns_and_none_is_painted_without_a_terminal() {
        let text = render(&diagnosis(), false);
        assert!(!text.contains('\x1b'), "{text}");
        let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= WIDTH, "{widest}");
        assert!(text.lines().all(|line| line.trim_end() == line), "no blanks at a line's end: {text}");
    }

    #[test]
    fn texts_stand_below_each_other_and_advice_below_what_was_found() {
        let text = render(&diagnosis(), false);
        let at = |what: &str| text.lines().find_map(|line| line.find(what)).unwrap();
        assert_eq!(at("/sys/kernel/btf"), at("attach program"));
        assert_eq!(at("-> grant"), at("attach program"));
        assert!(text.contains("\nmeasurements\n  failing  socket_rtt "), "{text}");
        assert!(text.ends_with("1 failing, 1 warning, 1 ok, 1 off\n  measurements/socket_rtt\n"), "{text}");
    }

    #[test]
    fn one_cause_of_many_is_told_once() {
        let check = |name| {
            let detail = Some("the system's words".to_owned());
            Check::new(Group::Hooks, name, Status::Failing, "EPERM (1)").explain(detail).advise("run as root")
        };
        let checks = vec![check("a"), check("b"), check("c")];
        let text = render(&Diagnosis::new("0", None, checks, Facts::default()), false);
        assert_eq!(text.matches("EPERM (1)").count(), 3, "{text}");
        assert_eq!(text.matches("the system's words").count(), 1, "{text}");
        assert_eq!(text.matches("run as root").count(), 1, "{text}");
    }

    #[test]
    fn on_a_terminal_only_the_status_is_painted() {
        let text = render(&diagnosis(), true);
        assert!(text.contains("\x1b[1;31mfailing\x1b[0m  socket_rtt"), "{text}");
    }

    #[test]
    fn words_are_kept_whole_unless_they_are_longer_than_a_line() {
        assert_eq!(wrap("ab cd ef", 5), ["ab cd", "ef"]);
        assert_eq!(wrap("a bcdefgh", 4), ["a", "bcde", "fgh"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
