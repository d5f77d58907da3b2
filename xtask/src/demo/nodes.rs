//! What each node measures: what is active is counted, the rest named with its reason.

use super::paint::clip;
use super::status::{Measurement, Status};

/// One line per node, the nodes in the agent's order.
pub fn lines(status: &Status, width: usize) -> Vec<String> {
    let mut nodes: Vec<&str> = Vec::new();
    for measurement in &status.measurements {
        if !nodes.contains(&measurement.node.as_str()) {
            nodes.push(&measurement.node);
        }
    }
    if nodes.is_empty() {
        return vec![" measurements: —".into()];
    }
    let name = nodes.iter().map(|node| node.chars().count()).max().unwrap_or(0);
    let line = |(index, node): (usize, &&str)| {
        let heading = if index == 0 { "measurements" } else { "" };
        let of_node = status.measurements.iter().filter(|m| m.node == *node);
        clip(&format!(" {heading:<13} {node:<name$}  {}", told(of_node, false)), width)
    };
    nodes.iter().enumerate().map(line).collect()
}

/// All nodes in one line, for where there is no room for more.
pub fn line(status: &Status, width: usize) -> String {
    match status.measurements.is_empty() {
        true => " measurements: —".into(),
        false => clip(&format!(" measurements: {}", told(status.measurements.iter(), true)), width),
    }
}

/// `4 active · disabled residence (no_forwarder)`, with the node where `named`.
fn told<'a>(measurements: impl Iterator<Item = &'a Measurement>, named: bool) -> String {
    let (active, others): (Vec<_>, Vec<_>) = measurements.partition(|m| m.state == "active");
    let other = |m: &&Measurement| {
        let at = if named { format!(" at {}", m.node) } else { String::new() };
        format!(" · {} {}{at} ({})", m.state, m.name, m.reason)
    };
    let others: String = others.iter().map(other).collect();
    let all = if others.is_empty() { "all " } else { "" };
    format!("{all}{} active{others}", active.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(measurements: &[(&str, &str, &str, &str)]) -> Status {
        let measurement = |(node, name, state, reason): &(&str, &str, &str, &str)| Measurement {
            node: (*node).into(),
            name: (*name).into(),
            state: (*state).into(),
            reason: (*reason).into(),
        };
        Status { measurements: measurements.iter().map(measurement).collect(), ..Status::default() }
    }

    #[test]
    fn each_node_has_a_line_and_what_is_not_active_has_its_reason() {
        let status = status(&[
            ("insight-eu", "probe", "active", ""),
            ("mediary-a", "socket_rtt", "active", ""),
            ("insight-eu", "residence", "disabled", "no_forwarder"),
        ]);
        let expected = [
            " measurements  insight-eu  1 active · disabled residence (no_forwarder)",
            "               mediary-a   all 1 active",
        ];
        assert_eq!(lines(&status, 79), expected);
        assert_eq!(
            line(&status, 79),
            " measurements: 2 active · disabled residence at insight-eu (no_forwarder)"
        );
        assert_eq!(lines(&status, 30)[0].chars().count(), 30);
    }

    #[test]
    fn an_agent_that_tells_nothing_measures_nothing_known() {
        assert_eq!(lines(&Status::default(), 79), [" measurements: —"]);
        assert_eq!(line(&Status::default(), 79), " measurements: —");
    }
}
