//! Reads what a Prometheus exporter exposes: text format 0.0.4 into families and samples.
//!
//! Strict where Prometheus is lenient, because it judges an exporter: a repeated HELP, TYPE or
//! series, a sample away from its family, an escape that the format does not know, or a last line
//! without its end are errors. Standard library only.
//!
//! **Source**: Prometheus documentation, "Exposition formats", text-based format.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Labels of a sample, by name.
pub type Labels = BTreeMap<String, String>;

/// Everything one scrape showed, by family name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition {
    /// The families.
    pub families: BTreeMap<String, Family>,
}

/// What TYPE says of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Only ever rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Cumulative buckets.
    Histogram,
    /// Quantiles computed by the exporter.
    Summary,
    /// Not said.
    Untyped,
}

/// One family.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name, without the suffix of a histogram's samples.
    pub name: String,
    /// Its type; [`Type::Untyped`] without a TYPE line.
    pub kind: Type,
    /// Its text for people. **None**: no HELP line.
    pub help: Option<String>,
    /// Its samples, in the order of the text.
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name on the line: the family's, with `_bucket`, `_sum` or `_count` in a histogram.
    pub name: String,
    /// Its labels, unescaped.
    pub labels: Labels,
    /// Its value; may be infinite or not a number.
    pub value: f64,
}

/// A line that the format does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exposition line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ParseError {}

impl Exposition {
    /// Parses a whole scrape.
    ///
    /// **Errors**: the first line that the format does not allow.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.read(line).map_err(|problem| ParseError { line: index + 1, problem })?;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            let line = text.lines().count();
            return Err(ParseError { line, problem: "the last line has no end".to_owned() });
        }
        Ok(Self { families: reader.families })
    }

    /// The value of the one sample with this name and (at least) these labels. **None**: no such
    /// sample, or more than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.samples(name, labels);
        let value = found.next()?.value;
        found.next().is_none().then_some(value)
    }

    /// The sum over the samples with this name and (at least) these labels. **None**: there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name, labels).map(|s| s.value).reduce(|a, b| a + b)
    }

    /// Every sample with this name and (at least) these labels.
    pub fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let samples = self.families.get(family_of(name, &self.families)).into_iter().flat_map(|f| &f.samples);
        samples.filter(move |s| s.name == name && s.has(labels))
    }

    /// The histogram with this name and (at least) these labels; several that match add up.
    /// **None**: there is none.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Option<Histogram> {
        let family = self.families.get(name).filter(|f| f.kind == Type::Histogram)?;
        let mut buckets: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        let (mut sum, mut count, mut any) = (0.0, 0.0, false);
        for sample in family.samples.iter().filter(|s| s.has(labels)) {
            match sample.name.strip_prefix(name)? {
                "_bucket" => {
                    let bound: f64 = sample.labels.get("le")?.parse().ok()?;
                    // Positive floating-point numbers are ordered as their bits are.
                    buckets.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += sample.value;
                }
                "_sum" => sum += sample.value,
                "_count" => (count, any) = (count + sample.value, true),
                _ => {}
            }
        }
        any.then(|| Histogram { buckets: buckets.into_values().collect(), sum, count })
    }
}

impl Sample {
    /// Whether it has these labels (and maybe others).
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|&(name, value)| self.labels.get(name).is_some_and(|v| v == value))
    }
}

/// A histogram's figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bound and cumulative count, bounds rising; the last bound is infinite.
    pub buckets: Vec<(f64, f64)>,
    /// Sum of all observations.
    pub sum: f64,
    /// Number of observations.
    pub count: f64,
}

impl Histogram {
    /// The arithmetic mean. **None** without an observation.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// The `q`-quantile (0 to 1), linear within its bucket, as PromQL computes it. **None**
    /// without an observation, or when only the infinite bucket exists.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count <= 0.0 {
            return None;
        }
        let rank = q * self.count;
        let index = self.buckets.iter().position(|&(_, cumulative)| cumulative >= rank)?;
        let (lower, below) = index.checked_sub(1).map_or((0.0, 0.0), |i| self.buckets[i]);
        let (upper, cumulative) = self.buckets[index];
        if upper.is_infinite() {
            return index.checked_sub(1).map(|i| self.buckets[i].0);
        }
        let inside = cumulative - below;
        Some(if inside > 0.0 { lower + (upper - lower) * (rank - below) / inside } else { upper })
    }

    /// What was observed since an earlier scrape of the same histogram. **None**: the bounds
    /// differ, or a count fell (the exporter restarted).
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let same = self.buckets.len() == earlier.buckets.len();
        let pairs = || self.buckets.iter().zip(&earlier.buckets);
        if !same || pairs().any(|(now, then)| now.0 != then.0 || now.1 < then.1) {
            return None;
        }
        Some(Self {
            buckets: pairs().map(|(now, then)| (now.0, now.1 - then.1)).collect(),
            sum: self.sum - earlier.sum,
            count: self.count - earlier.count,
        })
    }
}

// ---- reading --------------------------------------------------------------------------------

#[derive(Default)]
struct Reader {
    families: BTreeMap<String, Family>,
    /// The family that the last line belonged to: lines of one family stand together.
    current: Option<String>,
    typed: BTreeSet<String>,
    seen: BTreeSet<(String, Labels)>,
}

impl Reader {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() {
            return Ok(());
        }
        let Some(comment) = line.strip_prefix('#') else {
            return self.sample(line::parse_sample(line)?);
        };
        let comment = comment.trim_start_matches([' ', '\t']);
        let (keyword, rest) = comment.split_once([' ', '\t']).unwrap_or((comment, ""));
        let (name, text) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        match keyword {
            "HELP" => self.help(name, text),
            "TYPE" => self.kind(name, text.trim()),
            _ => Ok(()),
        }
    }

    fn help(&mut self, name: &str, text: &str) -> Result<(), String> {
        let help = line::unescape_help(text)?;
        let family = self.enter(name)?;
        if family.help.replace(help).is_some() {
            return Err(format!("{name}: a second HELP"));
        }
        Ok(())
    }

    fn kind(&mut self, name: &str, word: &str) -> Result<(), String> {
        let kind = match word {
            "counter" => Type::Counter,
            "gauge" => Type::Gauge,
            "histogram" => Type::Histogram,
            "summary" => Type::Summary,
            "untyped" => Type::Untyped,
            _ => return Err(format!("{name}: type {word:?} does not exist")),
        };
        if !self.typed.insert(name.to_owned()) {
            return Err(format!("{name}: a second TYPE"));
        }
        let family = self.enter(name)?;
        if !family.samples.is_empty() {
            return Err(format!("{name}: TYPE after a sample"));
        }
        family.kind = kind;
        Ok(())
    }

    fn sample(&mut self, sample: Sample) -> Result<(), String> {
        if !self.seen.insert((sample.name.clone(), sample.labels.clone())) {
            return Err(format!("{} {:?}: the series was there before", sample.name, sample.labels));
        }
        let name = family_of(&sample.name, &self.families).to_owned();
        self.enter(&name)?.samples.push(sample);
        Ok(())
    }

    /// The family, new or the one that the last line belonged to.
    fn enter(&mut self, name: &str) -> Result<&mut Family, String> {
        line::check_metric_name(name)?;
        if self.current.as_deref() != Some(name) && self.families.contains_key(name) {
            return Err(format!("{name}: the lines of a family stand apart"));
        }
        self.current = Some(name.to_owned());
        Ok(self.families.entry(name.to_owned()).or_insert_with(|| Family {
            name: name.to_owned(),
            kind: Type::Untyped,
            help: None,
            samples: Vec::new(),
        }))
    }
}

/// The family that a sample's name belongs to: its own, or a known histogram's or summary's.
fn family_of<'a>(sample: &'a str, families: &BTreeMap<String, Family>) -> &'a str {
    let suffixes = ["_bucket", "_sum", "_count"].into_iter();
    let mut stems = suffixes.filter_map(|suffix| Some((suffix, sample.strip_suffix(suffix)?)));
    let belongs = |&(suffix, stem): &(&str, &str)| match families.get(stem).map(|f| f.kind) {
        Some(Type::Histogram) => true,
        Some(Type::Summary) => suffix != "_bucket",
        _ => false,
    };
    stems.find(belongs).map_or(sample, |(_, stem)| stem)
}
