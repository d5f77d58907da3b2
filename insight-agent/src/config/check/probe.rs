//! One `[[probe]]`: where it goes, what it asks, how often; and whether these fit together.

use super::{Surroundings, black_box, dial, link, load, offer_name, tls};
use crate::config::duration::render;
use crate::config::errors::{Complaint, Findings, Stated, offer};
use crate::config::schema::IN_FLIGHT_MOST;
use crate::config::settings::{Probe, Route, Way};
use crate::config::table::Table;
use crate::config::template::Placeholder;
use crate::config::values;
use crate::model::expect::Expectations;
use crate::model::plan::{Call, Connection, Mode};
use std::time::Duration;

/// Keys that only one mode has.
const WHITE_BOX_KEYS: [&str; 3] = ["request_bytes", "response_bytes", "delay"];
/// Keys that only a direct probe has; a route states them for its probes.
const DIRECT_KEYS: [&str; 2] = ["authority", "tls"];

/// One probe. **None**: `findings` has the reasons.
pub(super) fn read(
    table: &Table<'_>,
    name: Option<Stated<String>>,
    around: &Surroundings<'_>,
    routes: &[Option<Route>],
    findings: &mut Findings<'_>,
) -> Option<Probe> {
    let target = table.text("target", findings, values::region);
    let service = table.text("service", findings, values::service);
    let way = way(table, around, findings);
    let mode = table.text("mode", findings, |word| match word {
        "black-box" => Ok(Mode::BlackBox),
        "link" => Ok(Mode::Link),
        _ => Ok(Mode::WhiteBox),
    });
    let times = times(table, around, findings);
    let mode = mode.map(|mode| mode.value);
    let asked = call(table, mode, times.as_ref(), around, findings);
    let (call, expect) = asked.unzip();
    let connections = connections(table, findings);
    let mut connections = black_box::connections(table, call.as_ref(), connections, findings);
    let ping = table.flag("ping", findings).map(|ping| ping.value);
    let load_metrics = load::metrics(table, findings);
    let reach = dial::reach(table, mode, way.as_ref(), connections.as_deref(), routes, findings);
    let ends = link::ends(table, mode, way.as_ref(), ping, around, routes, findings);
    let (mut times, ping) = (times?, ping?);
    let (call, expect) = if mode == Some(Mode::Link) {
        // PINGs go over a connection that is reused, handshakes are fresh ones; and there is no
        // answer to drain.
        let handshakes = reach.as_ref().is_none_or(|reach| !reach.proxied).then_some(Connection::Fresh);
        connections = Some(ping.then_some(Connection::Reused).into_iter().chain(handshakes).collect());
        times.drain = Duration::ZERO;
        (ends.map(Call::Link), Some(Expectations::default()))
    } else {
        (call, expect)
    };
    if let Some(probing) = around.probing {
        warn_of_skipped_samples(table, &times, probing.probing.max_in_flight, findings);
    }
    Some(Probe {
        name: name?.value,
        target: target?.value,
        service: service?.value,
        way: way?,
        mode: mode?,
        call: call?,
        expect: expect?,
        interval: times.interval,
        deadline: times.deadline,
        drain: times.drain,
        connections: connections?,
        reused_connections: reach.as_ref()?.reused_connections,
        ip: reach?.ip,
        ping,
        load_metrics: load_metrics?,
    })
}

// ---- where it goes --------------------------------------------------------------------------

fn way(table: &Table<'_>, around: &Surroundings<'_>, findings: &mut Findings<'_>) -> Option<Way> {
    let route = table.string("route", findings);
    let address = table.text("address", findings, values::endpoint);
    let authority = table.text("authority", findings, values::authority);
    let tls = tls::read(table, around.base, findings);
    match (table.states("route"), table.states("address")) {
        (true, true) => {
            let site = table.stated_site("address", findings);
            findings.error(&site, "route and address exclude each other", "remove one of the two");
            None
        }
        (false, false) => {
            let advice = "add route = \"NAME\" of a [[route]], or address = \"host:port\" for a direct probe";
            findings.error(&table.site(), "the probe goes nowhere", advice);
            None
        }
        (true, false) => {
            for key in DIRECT_KEYS.into_iter().filter(|key| table.states(key)) {
                let site = table.stated_site(key, findings);
                findings.error(
                    &site,
                    "this belongs to a probe with an address",
                    "set it in the [[route]] instead",
                );
            }
            let route = route?;
            if !around.routes.contains(&route.value) {
                let advice = offer_name(&route.value, &around.routes, "add a [[route]] with this name");
                findings.error(&route.site, "no [[route]] has this name", advice);
                return None;
            }
            Some(Way::Route(route.value))
        }
        (false, true) => {
            let address = address?.value;
            let authority = authority.map_or_else(|| address.authority(), |authority| authority.value);
            Some(Way::Direct { address, authority, tls })
        }
    }
}

// ---- what it asks ---------------------------------------------------------------------------

fn call(
    table: &Table<'_>,
    mode: Option<Mode>,
    times: Option<&Times>,
    around: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<(Call, Expectations)> {
    // Everything is read whatever the mode, so that one run shows all errors.
    let measure = measure(table, times, findings);
    let black_box = black_box::read(table, around.base, findings);
    let mode = mode?;
    for (keys, owner) in [
        (&WHITE_BOX_KEYS[..], Mode::WhiteBox),
        (&black_box::KEYS[..], Mode::BlackBox),
        (&link::KEYS[..], Mode::Link),
    ] {
        if owner == mode {
            continue;
        }
        for key in keys.iter().filter(|key| table.states(key)) {
            let site = table.stated_site(key, findings);
            let advice = format!("remove it, or set mode = \"{}\"", owner.as_str());
            findings.error(&site, format!("a {} probe has no {key}", mode.as_str()), advice);
        }
    }
    match mode {
        Mode::WhiteBox => Some((measure?, Expectations::default())),
        Mode::BlackBox => black_box,
        Mode::Link => None,
    }
}

fn measure(table: &Table<'_>, times: Option<&Times>, findings: &mut Findings<'_>) -> Option<Call> {
    let request_bytes = table.bytes("request_bytes", findings);
    let response_bytes = table.bytes("response_bytes", findings);
    let delay = table.duration("delay", findings);
    if let (Some(delay), Some(times)) = (&delay, times)
        && delay.value > times.deadline
    {
        findings.error(
            &delay.site,
            format!("longer than the deadline of {}, so every sample would be late", render(times.deadline)),
            "shorten the delay, or set a longer probe.deadline",
        );
    }
    Some(Call::Measure {
        request_bytes: request_bytes?.value,
        response_bytes: response_bytes?.value,
        delay: delay?.value,
    })
}

// ---- how often ------------------------------------------------------------------------------

struct Times {
    interval: Duration,
    deadline: Duration,
    drain: Duration,
}

fn times(table: &Table<'_>, around: &Surroundings<'_>, findings: &mut Findings<'_>) -> Option<Times> {
    let interval = table.duration("interval", findings);
    let deadline = table.duration("deadline", findings);
    let drain = table.duration("drain", findings);
    if let (Some(interval), Some(probing)) = (&interval, around.probing) {
        require_two_samples(interval, &probing.window, findings);
    }
    Some(Times { interval: interval?.value, deadline: deadline?.value, drain: drain?.value })
}

/// A window with less than two scheduled samples is empty whenever one of them fails.
fn require_two_samples(interval: &Stated<Duration>, window: &Stated<Duration>, findings: &mut Findings<'_>) {
    let least = interval.value.saturating_mul(2);
    if window.value >= least {
        return;
    }
    let (window_text, interval_text) = (render(window.value), render(interval.value));
    if interval.site.written || !window.site.written {
        findings.error(
            &interval.site,
            format!("a window of {window_text} holds less than two samples"),
            format!(
                "write at most \"{}\", or set probing.window to \"{}\" or more",
                render(window.value / 2),
                render(least)
            ),
        );
    } else {
        // One finding on the line that the user wrote, though it may repeat for several probes.
        findings.error_once(
            &window.site,
            format!("less than two samples of a probe fit at its interval of {interval_text}"),
            format!("write at least \"{}\", or set a shorter probe.interval", render(least)),
        );
    }
}

fn connections(table: &Table<'_>, findings: &mut Findings<'_>) -> Option<Vec<Connection>> {
    let stated = table.list("connections", findings)?;
    let mut connections = Vec::new();
    let mut complaints = Vec::new();
    for word in &stated.value {
        let connection = match word.as_str() {
            "reused" => Connection::Reused,
            "fresh" => Connection::Fresh,
            _ => {
                let advice = offer(word, Connection::NAMES);
                complaints.push(Complaint::new(format!("\"{word}\" is no kind of connection"), advice));
                continue;
            }
        };
        if connections.contains(&connection) {
            complaints.push(Complaint::new(format!("\"{word}\" occurs twice"), "name each kind once"));
        }
        connections.push(connection);
    }
    if stated.value.is_empty() {
        complaints.push(Complaint::new("the list is empty", "name \"reused\", \"fresh\" or both"));
    }
    if complaints.is_empty() {
        return Some(connections);
    }
    for complaint in complaints {
        findings.complain(&stated.site, complaint);
    }
    None
}

// ---- what is allowed but probably not meant -------------------------------------------------

/// When a path hangs, samples pile up until the deadline and the drain time have passed; those that
/// find no room are skipped, and the incident is seen by fewer of them than configured.
fn warn_of_skipped_samples(table: &Table<'_>, times: &Times, most: usize, findings: &mut Findings<'_>) {
    let waited = times.deadline + times.drain;
    let piled_up = waited.as_nanos().div_ceil(times.interval.as_nanos().max(1));
    if piled_up <= most as u128 {
        return;
    }
    let (waited, interval) = (render(waited), render(times.interval));
    let shorter = "a longer interval, or a shorter deadline or drain";
    let advice = if piled_up <= u128::from(IN_FLIGHT_MOST) {
        format!("set probing.max_in_flight to {piled_up}, {shorter}")
    } else {
        format!("set {shorter}")
    };
    findings.warn(
        &table.stated_site("interval", findings),
        format!(
            "on a path that hangs, {piled_up} samples are under way at once (one each {interval}, waited for \
             {waited}), and probing.max_in_flight = {most}: the others would be skipped"
        ),
        advice,
    );
}

/// A route whose metadata names the service sends an empty value for a probe without one.
pub(super) fn warn_of_empty_services(
    tables: &[Table<'_>],
    probes: &[Probe],
    routes: &[Route],
    findings: &mut Findings<'_>,
) {
    for (table, probe) in tables.iter().zip(probes) {
        // A link probe sends no metadata.
        if !probe.service.is_empty() || probe.mode == Mode::Link {
            continue;
        }
        let Way::Route(name) = &probe.way else { continue };
        let Some(route) = routes.iter().find(|route| route.name == *name) else { continue };
        let empty = route.metadata.iter().find(|(_, value)| value.uses(Placeholder::Service));
        if let Some((key, _)) = empty {
            let site = table.site_of("service");
            let what = format!("empty, and the route \"{name}\" puts {{service}} into its metadata {key}");
            findings.warn(&site, what, "add a line such as service = \"insight\"");
        }
    }
}
