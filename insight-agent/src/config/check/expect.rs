//! What a probe expects of its answers: `expect_status` and the tables `[[probe.expect]]`.

use crate::config::errors::{Complaint, Findings, offer};
use crate::config::table::Table;
use crate::model::expect::{Checks, Expectations, Pattern, RULES_MOST, Rule, Subject};
use crate::model::field_path::FieldPath;
use crate::model::outcome::GrpcStatus;

/// Keys of a rule that name its subject; one of them is stated.
const SUBJECTS: [&str; 3] = ["field", "header", "trailer"];
/// Keys that say what a value must be, so they need one.
const OF_A_VALUE: [&str; 4] = ["equals", "matches", "min", "max"];

/// All expectations. **None**: `findings` has the reasons.
pub(super) fn read(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Expectations> {
    let statuses = statuses(table, findings);
    let tables = table.tables("expect", findings);
    if tables.len() > RULES_MOST {
        let site = table.stated_site("expect", findings);
        let what = format!("{} rules are more than a probe holds its answers against", tables.len());
        findings.error(&site, what, format!("write at most {RULES_MOST}"));
        return None;
    }
    let rules: Vec<_> = tables.iter().map(|table| rule(table, findings)).collect();
    Some(Expectations { statuses: statuses?, rules: rules.into_iter().collect::<Option<_>>()? })
}

/// **Empty**: the key is not stated, and OK is good.
fn statuses(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Vec<GrpcStatus>> {
    if !table.states("expect_status") {
        return Some(Vec::new());
    }
    let stated = table.list("expect_status", findings)?;
    let mut statuses = Vec::new();
    let mut complaints = Vec::new();
    for word in &stated.value {
        match GrpcStatus::ALL.into_iter().find(|status| status.as_str() == word) {
            None => {
                let what = format!("\"{word}\" is no gRPC status");
                complaints.push(Complaint::new(what, offer(word, GrpcStatus::NAMES)));
            }
            Some(status) if statuses.contains(&status) => {
                complaints.push(Complaint::new(format!("\"{word}\" occurs twice"), "name each status once"));
            }
            Some(status) => statuses.push(status),
        }
    }
    if stated.value.is_empty() {
        complaints
            .push(Complaint::new("the list is empty", "name a status such as \"OK\", or remove the key"));
    }
    if complaints.is_empty() {
        return Some(statuses);
    }
    for complaint in complaints {
        findings.complain(&stated.site, complaint);
    }
    None
}

fn rule(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Rule> {
    let field = table.text("field", findings, |text| {
        FieldPath::parse(text).map_err(|error| {
            let advice =
                "write names joined by points, such as \"items[0].name\" or \"labels[\\\"region\\\"]\"";
            Complaint::new(error.to_string(), advice)
        })
    });
    let header = table.text("header", findings, metadata_name);
    let trailer = table.text("trailer", findings, metadata_name);
    let equals = table.string("equals", findings);
    let matches = table.text("matches", findings, |text| {
        Pattern::new(text).map_err(|error| {
            Complaint::new(
                format!("no regular expression ({error})"),
                "write one as the Rust crate regex has it: no look-around, no back-references",
            )
        })
    });
    let exists = table.flag("exists", findings);
    let (least, most) = (table.number("min", findings), table.number("max", findings));
    let stated: Vec<_> = SUBJECTS.into_iter().filter(|key| table.states(key)).collect();
    let [_] = stated[..] else {
        let (what, advice) = if stated.is_empty() {
            ("the rule speaks of nothing", "add one of field, header and trailer")
        } else {
            ("one rule speaks of one thing", "keep one of field, header and trailer")
        };
        findings.error(&table.site(), what, advice);
        return None;
    };
    // Whatever was stated and could not be read has been told.
    let refused = |key: &str, read: bool| table.states(key) && !read;
    if refused("equals", equals.is_some())
        || refused("matches", matches.is_some())
        || refused("min", least.is_some())
        || refused("max", most.is_some())
    {
        return None;
    }
    let exists = exists?;
    if !exists.value
        && let Some(key) = OF_A_VALUE.into_iter().find(|key| table.states(key))
    {
        let what = format!("what is not there has no {key}");
        findings.error(&exists.site, what, format!("remove {key}, or set exists = true"));
        return None;
    }
    if let (Some(least), Some(most)) = (&least, &most)
        && least.value > most.value
    {
        findings.error(
            &least.site,
            format!("above max = {}", most.value),
            "write a min that is not above max",
        );
        return None;
    }
    let subject = match (field, header, trailer) {
        (Some(field), ..) => Subject::Field(field.value),
        (_, Some(header), _) => Subject::Header(header.value),
        (.., trailer) => Subject::Trailer(trailer?.value),
    };
    let checks = Checks {
        equals: equals.map(|equals| equals.value),
        matches: matches.map(|matches| matches.value),
        exists: exists.site.written.then_some(exists.value),
        least: least.map(|least| least.value),
        most: most.map(|most| most.value),
    };
    Some(Rule { subject, checks })
}

/// A header's or trailer's name; what carries the status has a key of its own.
fn metadata_name(text: &str) -> Result<String, Complaint> {
    if text == "grpc-status" {
        return Err(Complaint::new(
            "the status has a key of its own",
            "write expect_status = [\"OK\"] instead",
        ));
    }
    match http::HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if name.as_str() == text => Ok(text.to_owned()),
        _ => Err(Complaint::new("no name of a header", "write it in lower case, such as \"x-served-by\"")),
    }
}
