//! The program's own texts for shells and readers: they are there, and their readers take them.

use insight_e2e::agent::Site;
use std::process::Command;

#[test]
fn completions_name_every_subcommand_and_bash_takes_them() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = site.execute(&["completions", shell]);
        assert_eq!(script.code, 0, "{}", script.stderr);
        for word in ["probe", "check-config", "doctor", "completions"] {
            assert!(script.stdout.contains(word), "{shell}: no {word}");
        }
        if shell == "bash" {
            let path = site.write("completion.bash", &script.stdout);
            let taken = Command::new("bash").arg("-n").arg(path).output().unwrap();
            assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        }
    }
    assert_eq!(site.execute(&["completions", "tcsh"]).code, 2);
}

#[test]
fn manual_pages_are_written_into_a_folder_and_an_unwritable_one_is_named() {
    let site = Site::new();
    let written = site.execute(&["man", "--out", "man1"]);
    assert_eq!(written.code, 0, "{}", written.stderr);
    for page in ["insight-agent.1", "insight-agent-probe.1", "insight-agent-check-config.1"] {
        let text = std::fs::read_to_string(site.path("man1").join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(".SH NAME"), "{page}: {text}");
    }
    assert!(site.execute(&["man"]).stdout.contains(".TH"));
    site.write("file", "");
    let refused = site.execute(&["man", "--out", "file"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("file"), "{}", refused.stderr);
}
