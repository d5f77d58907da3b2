//! What a machine wrote to its console: marks of its first process, pages between them, and
//! whatever else a kernel says. Pure.

use std::collections::BTreeMap;

/// What the first process begins its lines with.
const MARK: &str = "VMTEST ";

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It came to its end.
    Done,
    /// It gave up, and why.
    Failed(String),
    /// The console just stops: the kernel did not boot, hung or panicked.
    Silent,
}

/// A whole console.
#[derive(Debug, Clone, PartialEq)]
pub struct Console {
    /// The kernel's release, as it calls itself. **None**: it did not come that far.
    pub kernel: Option<String>,
    /// When the first process began, by the machine's own clock. **Unit**: s.
    pub booted: Option<f64>,
    /// When the agent had attached its programs, likewise.
    pub started: Option<f64>,
    /// What `/metrics` said at each mark.
    pub pages: BTreeMap<String, String>,
    /// How it ended.
    pub end: End,
}

impl Console {
    /// Reads a console. A page that was not finished is left out.
    pub fn parse(text: &str) -> Self {
        let mut console =
            Self { kernel: None, booted: None, started: None, pages: BTreeMap::new(), end: End::Silent };
        let mut open: Option<(String, String)> = None;
        for line in text.lines().map(str::trim_end) {
            let Some(words) = line.strip_prefix(MARK) else {
                // The kernel may speak in between.
                if let Some((_, page)) = open.as_mut().filter(|_| line.starts_with("insight_")) {
                    page.push_str(line);
                    page.push('\n');
                }
                continue;
            };
            let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
            let at = rest.rsplit_once("at ").and_then(|(_, seconds)| seconds.parse().ok());
            let first = rest.split(' ').next().unwrap_or_default().to_owned();
            match word {
                "kernel" => (console.kernel, console.booted) = (Some(first), at),
                "agent" => console.started = at,
                "page" => open = Some((first, String::new())),
                "end" => console.pages.extend(open.take().filter(|(name, _)| *name == first)),
                "done" => console.end = End::Done,
                "failed" => console.end = End::Failed(rest.to_owned()),
                _ => {}
            }
        }
        console
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_times_are_read_and_the_kernels_own_lines_are_not() {
        let text = "\u{1b}c\u{1b}[2JBooting\r\nVMTEST kernel 6.1.0-56-cloud-amd64 at 4.25\r\n\
            VMTEST agent started at 8.04\r\nVMTEST page a at 9.1\r\ninsight_x 1\r\n[    9.2] loop: 1\r\n\
            insight_y{z=\"1\"} 2\r\nVMTEST end a\r\nVMTEST done\r\n[   31.0] reboot: Power down\r\n";
        let console = Console::parse(text);
        assert_eq!(console.kernel.as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!((console.booted, console.started), (Some(4.25), Some(8.04)));
        assert_eq!(console.pages["a"], "insight_x 1\ninsight_y{z=\"1\"} 2\n");
        assert_eq!(console.end, End::Done);
    }

    #[test]
    fn a_failure_has_its_words_and_a_console_that_stops_is_no_success() {
        let failed = Console::parse("VMTEST kernel 6.1 at 1\nVMTEST failed load the module veth\n");
        assert_eq!(failed.end, End::Failed("load the module veth".to_owned()));
        let silent = Console::parse("[    4.1] Kernel panic - not syncing: No working init found.\n");
        assert_eq!((silent.end, silent.kernel), (End::Silent, None));
        let torn = Console::parse("VMTEST page a at 1\ninsight_x 1\nVMTEST page b at 2\ninsight_x 2\n");
        assert!(torn.pages.is_empty(), "neither page was finished: {torn:?}");
    }
}
