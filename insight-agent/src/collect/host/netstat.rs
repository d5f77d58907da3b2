//! What did the network protocols count?
//!
//! **Source**: `/proc/net/netstat` and `/proc/net/snmp`, pairs of a line of names and one of
//! values; `/proc/net/snmp6`, a name and a value per line, absent without IPv6. All of the reader's
//! network namespace. Own readers: `procfs` knows a fixed set of `snmp`'s fields, fails where one
//! is missing, and has none for `netstat`.

use super::root::Source;
use crate::model::host::Figures;

/// All figures by node_exporter's names, such as `Tcp_CurrEstab`. **None**: none of the files is
/// there.
pub(super) fn read(source: &Source<'_>) -> Option<Figures> {
    let files = [
        source.read("proc/net/netstat", parse_pairs),
        source.read("proc/net/snmp", parse_pairs),
        source.read("proc/net/snmp6", parse_snmp6),
    ];
    files.into_iter().flatten().reduce(|mut all, more| {
        all.extend(more);
        all
    })
}

/// **None**: a line of names without one of as many values behind it, or no pair at all.
pub(super) fn parse_pairs(text: &str) -> Option<Figures> {
    let mut figures = Figures::new();
    let mut lines = text.lines();
    while let Some(names) = lines.next() {
        let (protocol, names) = names.split_once(':')?;
        let (same, values) = lines.next()?.split_once(':')?;
        let mut values = values.split_ascii_whitespace();
        for name in names.split_ascii_whitespace() {
            // Signed: "no limit" is -1.
            let value: i64 = values.next()?.parse().ok()?;
            figures.insert(format!("{protocol}_{name}"), value as f64);
        }
        if same != protocol || values.next().is_some() {
            return None;
        }
    }
    (!figures.is_empty()).then_some(figures)
}

/// **None**: a line without a name or a number. A name without the protocols' 6 is left out, as
/// node_exporter does.
pub(super) fn parse_snmp6(text: &str) -> Option<Figures> {
    let mut figures = Figures::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (name, value) = (words.next()?, words.next()?.parse::<u64>().ok()?);
        if let Some((protocol, name)) = name.split_once('6') {
            figures.insert(format!("{protocol}6_{name}"), value as f64);
        }
    }
    (!figures.is_empty()).then_some(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined_with_their_values() {
        let text = "Tcp: RtoAlgorithm MaxConn CurrEstab\nTcp: 1 -1 2\nUdp: NoPorts\nUdp: 7\n";
        let figures = parse_pairs(text).unwrap();
        assert_eq!(
            (figures["Tcp_MaxConn"], figures["Tcp_CurrEstab"], figures["Udp_NoPorts"]),
            (-1.0, 2.0, 7.0)
        );
    }

    #[test]
    fn pairs_that_do_not_fit_give_none() {
        for text in [
            "",
            "Tcp: A B\nTcp: 1\n",
            "Tcp: A\nTcp: 1 2\n",
            "Tcp: A\nUdp: 1\n",
            "Tcp: A\n",
            "Tcp: A\nTcp: x\n",
        ] {
            assert_eq!(parse_pairs(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_protocol_ends_with_the_six() {
        let figures = parse_snmp6("Ip6InOctets   \t256\nUdpLite6InErrors 0\nOther 1\n").unwrap();
        assert_eq!(figures.keys().collect::<Vec<_>>(), ["Ip6_InOctets", "UdpLite6_InErrors"]);
        assert_eq!(parse_snmp6("Ip6InOctets\n"), None);
    }
}
