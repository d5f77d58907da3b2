//! `probe.load_metrics`: which named metrics of the service's load reports become series.

use crate::config::errors::{Complaint, Findings};
use crate::config::table::Table;
use crate::config::values;
use crate::model::plan::LOAD_METRICS_MOST;

/// The names, in the order in which they stand. **None**: `findings` has the reasons.
///
/// A name may carry the field of the report that it is found in, as `utilization.disk`, so points
/// belong to it; what else a name of this agent may have is enough for metrics too.
pub(super) fn metrics(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    let stated = table.list("load_metrics", findings)?;
    let mut complaints = Vec::new();
    if stated.value.len() > LOAD_METRICS_MOST {
        let what = format!("{} metrics are more than a probe keeps", stated.value.len());
        complaints.push(Complaint::new(what, format!("name at most {LOAD_METRICS_MOST}")));
    }
    for (index, name) in stated.value.iter().enumerate() {
        if let Err(complaint) = values::name(name) {
            complaints.push(Complaint::new(format!("\"{name}\" is {}", complaint.what), complaint.advice));
        } else if stated.value[..index].contains(name) {
            complaints.push(Complaint::new(format!("\"{name}\" occurs twice"), "name each metric once"));
        }
    }
    if complaints.is_empty() {
        return Some(stated.value);
    }
    for complaint in complaints {
        findings.complain(&stated.site, complaint);
    }
    None
}
