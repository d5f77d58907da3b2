//! One sample line and its escapes.

use super::{Labels, Sample};

/// Parses `name{label="value",…} value [timestamp]`.
pub(super) fn parse_sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ', '\t']).ok_or_else(|| format!("{line:?}: no value"))?;
    let (name, mut rest) = line.split_at(end);
    check_metric_name(name)?;
    let mut labels = Labels::new();
    rest = rest.trim_start_matches([' ', '\t']);
    if let Some(inside) = rest.strip_prefix('{') {
        rest = parse_labels(name, inside, &mut labels)?;
    }
    let mut words = rest.split([' ', '\t']).filter(|w| !w.is_empty());
    let word = words.next().ok_or_else(|| format!("{name}: no value"))?;
    let value = parse_value(word).ok_or_else(|| format!("{name}: {word:?} is not a number"))?;
    if let Some(stamp) = words.next() {
        stamp.parse::<i64>().map_err(|_| format!("{name}: {stamp:?} is not a timestamp"))?;
    }
    match words.next() {
        Some(word) => Err(format!("{name}: {word:?} after the timestamp")),
        None => Ok(Sample { name: name.to_owned(), labels, value }),
    }
}

/// Reads labels up to the closing brace; returns what follows it.
fn parse_labels<'a>(name: &str, mut rest: &'a str, labels: &mut Labels) -> Result<&'a str, String> {
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (label, after) = rest.split_once('=').ok_or_else(|| format!("{name}: a label without ="))?;
        let label = label.trim_matches([' ', '\t']);
        check_label_name(label)?;
        let quoted = after
            .trim_start_matches([' ', '\t'])
            .strip_prefix('"')
            .ok_or_else(|| format!("{name}: label {label}: no opening quote"))?;
        let (value, after) = parse_quoted(quoted).map_err(|e| format!("{name}: label {label}: {e}"))?;
        if labels.insert(label.to_owned(), value).is_some() {
            return Err(format!("{name}: label {label} twice"));
        }
        rest = after.trim_start_matches([' ', '\t']);
        // A comma may also stand before the closing brace.
        rest = match rest.strip_prefix(',') {
            Some(after) => after,
            None if rest.starts_with('}') => rest,
            None => return Err(format!("{name}: neither , nor }} after label {label}")),
        };
    }
}

/// Reads a label's value after its opening quote; returns it unescaped, and what follows.
fn parse_quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(match chars.next().map(|(_, c)| c) {
                Some('n') => '\n',
                Some(c @ ('"' | '\\')) => c,
                other => return Err(format!("escape {other:?} does not exist")),
            }),
            c => value.push(c),
        }
    }
    Err("no closing quote".to_owned())
}

/// Unescapes HELP, in which quotes stand as they are.
pub(super) fn unescape_help(text: &str) -> Result<String, String> {
    let mut help = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        help.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('\\') => '\\',
                other => return Err(format!("HELP: escape {other:?} does not exist")),
            },
            c => c,
        });
    }
    Ok(help)
}

/// Go's floating-point syntax, as far as exporters use it.
fn parse_value(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Rust would also read "infinity" and the like.
        _ if word.bytes().any(|b| b.is_ascii_digit()) => word.parse().ok(),
        _ => None,
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub(super) fn check_metric_name(name: &str) -> Result<(), String> {
    check_name(name, |b| b == b':', "metric")
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
fn check_label_name(name: &str) -> Result<(), String> {
    check_name(name, |_| false, "label")
}

fn check_name(name: &str, more: impl Fn(u8) -> bool, what: &str) -> Result<(), String> {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || more(b);
    let good =
        name.bytes().next().is_some_and(&letter) && name.bytes().all(|b| letter(b) || b.is_ascii_digit());
    if good { Ok(()) } else { Err(format!("{name:?} is not a {what} name")) }
}
