//! The table of measurements and kernels in the documentation: written, and compared. Pure.

use super::judge::Cell;

/// The document that holds it, below the checkout.
pub const DOCUMENT: &str = "docs/kernels.md";

/// The line before the table.
const BEGIN: &str = "<!-- Written by `cargo xtask vmtest --write`: begin -->";
/// The line behind it.
const END: &str = "<!-- end -->";

/// The table of what ran: for each kernel its series and its measurements.
pub fn render(kernels: &[(&str, Vec<Cell>)]) -> String {
    let series: Vec<_> = kernels.iter().map(|(series, _)| *series).collect();
    let mut lines = vec![
        format!("| measurement | injected | {} |", series.join(" | ")),
        format!("|---|---|{}", "---|".repeat(series.len())),
    ];
    let mut names: Vec<&Cell> = kernels.iter().flat_map(|(_, cells)| cells).collect();
    names.sort_by(|one, other| one.measurement.cmp(&other.measurement));
    names.dedup_by(|one, other| one.measurement == other.measurement);
    for row in names {
        let texts = kernels.iter().map(|(_, cells)| {
            let cell = cells.iter().find(|cell| cell.measurement == row.measurement);
            cell.map_or("–", |cell| cell.text.as_str())
        });
        let texts: Vec<_> = texts.collect();
        lines.push(format!(
            "| `{}` | {} | {} |",
            row.measurement,
            row.injected.unwrap_or("–"),
            texts.join(" | ")
        ));
    }
    lines.join("\n") + "\n"
}

/// The table in `document`. **None**: it has no place for one.
pub fn written(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once(BEGIN)?;
    let (table, _) = rest.split_once(END)?;
    Some(table.trim_start_matches('\n'))
}

/// `document` with another table. **None**: it has no place for one.
pub fn replace(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, behind) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{behind}"))
}

#[cfg(test)]
mod tests {
    use super::super::kernels::SERIES;
    use super::*;

    fn cell(measurement: &str, text: &str) -> Cell {
        Cell { measurement: measurement.to_owned(), injected: None, text: text.to_owned(), problem: None }
    }

    #[test]
    fn a_measurement_that_one_kernel_does_not_name_has_a_dash_there() {
        let table = render(&[
            ("6.1", vec![cell("b", "active")]),
            ("6.12", vec![cell("a", "x"), cell("b", "active")]),
        ]);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows, ["| `a` | – | – | x |", "| `b` | – | active | active |"]);
    }

    #[test]
    fn what_was_written_is_read_and_nothing_beside_it_changes() {
        let document = format!("before\n\n{BEGIN}\nold\n{END}\n\nbehind\n");
        let fresh = replace(&document, "new\n").unwrap();
        assert_eq!(written(&fresh), Some("new\n"));
        assert_eq!(replace(&fresh, "old\n").unwrap(), document);
        assert_eq!((written("no place"), replace("no place", "x")), (None, None));
    }

    #[test]
    fn the_documentation_has_a_column_for_every_kernel_that_is_run() {
        let root = crate::workspace_root().unwrap();
        let document = std::fs::read_to_string(root.join(DOCUMENT)).unwrap();
        let table = written(&document).unwrap();
        let head = format!("| measurement | injected | {} |", SERIES.join(" | "));
        assert!(table.starts_with(&head), "{table}");
        assert!(!table.contains("failed"), "a measurement that fails is to be repaired: {table}");
    }
}
