//! `x-insight-hop` values as these tests read them: the grammar of deploy/, nothing tolerant.

/// One hop's value, in milliseconds.
#[derive(Debug, Clone)]
pub struct Hop {
    pub name: String,
    pub d: f64,
    pub u: Option<f64>,
    pub c: Option<f64>,
}

impl Hop {
    /// Time inside the hop.
    pub fn residence(&self) -> f64 {
        self.d - self.u.unwrap()
    }
}

/// Parses `NAME;key=value…` with keys `d`, `u`, `c` in ms, `_s` in seconds, `_us` in microseconds.
pub fn parse(value: &str) -> Hop {
    let mut parts = value.split(';');
    let name = parts.next().unwrap().to_owned();
    let mut hop = Hop { name, d: f64::NAN, u: None, c: None };
    for part in parts {
        let (key, figure) = part.split_once('=').unwrap();
        let figure = figure.trim_matches('"');
        if figure == "-" {
            continue; // nginx: this point was not reached
        }
        let figure: f64 = figure.parse().unwrap_or_else(|_| panic!("{value:?}: {part:?}"));
        let (key, to_ms) = match key.split_once('_') {
            None => (key, 1.0),
            Some((key, "s")) => (key, 1e3),
            Some((key, "us")) => (key, 1e-3),
            Some((_, unit)) => panic!("{value:?}: unit {unit:?}"),
        };
        let ms = figure * to_ms;
        match key {
            "d" => hop.d = ms,
            "u" => hop.u = Some(ms),
            "c" => hop.c = Some(ms),
            "q" => {} // the resolution
            _ => panic!("{value:?}: key {key:?}"),
        }
    }
    assert!(hop.d >= 0.0, "{value:?}: no d");
    hop
}

/// All values of a response, the innermost hop first.
pub fn parse_all(values: &[String]) -> Vec<Hop> {
    values.iter().map(|value| parse(value)).collect()
}
