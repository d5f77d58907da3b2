//! The points at which a request was timed, and the segments between them.

use super::{Hop, segment};
use crate::model::figure::Figure;
use crate::model::ledger::{Evidence, SERVICE, Segment, hop_name, link_name};

/// Which of a node's two times a point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Downstream,
    Upstream,
}

/// A time that is known: how long it took from here to the far end and back to here.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Index into the path's nodes.
    node: usize,
    side: Side,
    figure: Figure,
}

impl Point {
    /// The first hop whose residence is behind this point, on the way out.
    fn first_hop_behind(&self) -> usize {
        match self.side {
            Side::Downstream => self.node,
            Side::Upstream => self.node + 1,
        }
    }
}

/// A path as it was timed: its nodes, and every known point in the order in which a request
/// passes them. There is always one: the prober's own.
pub(super) struct Path<'a> {
    /// The origin, the hops, the service.
    nodes: Vec<&'a str>,
    known: Vec<Point>,
    first_byte: Figure,
    service: Option<Figure>,
}

impl<'a> Path<'a> {
    pub(super) fn new(
        origin: &'a str,
        first_byte: Figure,
        hops: &[Hop<'a>],
        service: Option<Figure>,
    ) -> Self {
        let mut nodes = vec![origin];
        let mut known = vec![Point { node: 0, side: Side::Upstream, figure: first_byte }];
        let mut add = |node, side, figure: Option<Figure>| {
            known.extend(figure.map(|figure| Point { node, side, figure }));
        };
        for hop in hops {
            let node = nodes.len();
            nodes.push(hop.name);
            add(node, Side::Downstream, hop.timing.and_then(|timing| timing.downstream));
            add(node, Side::Upstream, hop.timing.and_then(|timing| timing.upstream));
        }
        add(nodes.len(), Side::Downstream, service);
        nodes.push(SERVICE);
        Self { nodes, known, first_byte, service }
    }

    /// Links and hops, from the origin to the service.
    pub(super) fn segments(&self, first_link: Option<Figure>) -> Vec<Segment> {
        let mut segments: Vec<Segment> =
            self.pairs().map(|(from, to)| self.between(from, to, first_link)).collect();
        if let (None, Some(last)) = (self.service, self.known.last()) {
            // Nothing tells where behind the last point the service began.
            let service = self.nodes.len() - 1;
            let name = link_name(self.nodes[last.node], SERVICE);
            let merged = self.names(last.first_hop_behind(), service);
            segments.push(segment(name, None, Evidence::HeaderDifference, merged));
        }
        segments
    }

    /// First-byte time minus the telescoped sum of all differences and the service's time. Every
    /// reading is in that sum once with each sign, so its bounds cancel too.
    pub(super) fn residual(&self) -> Option<Figure> {
        let differences = self.pairs().map(|(from, to)| from.figure.minus(to.figure));
        let sum = differences.fold(self.service?, Figure::plus);
        Some(Figure::exact(self.first_byte.minus(sum).ns))
    }

    fn pairs(&self) -> impl Iterator<Item = (&Point, &Point)> {
        self.known.iter().zip(self.known.iter().skip(1))
    }

    /// The segment between two known points that follow each other.
    fn between(&self, from: &Point, to: &Point, first_link: Option<Figure>) -> Segment {
        let difference = Some(from.figure.minus(to.figure));
        if from.node == to.node {
            return segment(hop_name(self.nodes[to.node]), difference, Evidence::HopHeader, Vec::new());
        }
        let name = link_name(self.nodes[from.node], self.nodes[to.node]);
        if from.node == 0 && to.node == 1 && to.side == Side::Downstream {
            return segment(name, first_link, Evidence::Handshake, Vec::new());
        }
        let end = match to.side {
            Side::Downstream => to.node,
            // The far hop did not tell when it got the request, so its residence is inside.
            Side::Upstream => to.node + 1,
        };
        segment(name, difference, Evidence::HeaderDifference, self.names(from.first_hop_behind(), end))
    }

    /// The names of the nodes in `start..end`.
    fn names(&self, start: usize, end: usize) -> Vec<String> {
        self.nodes.iter().take(end).skip(start).map(|name| (*name).to_owned()).collect()
    }
}
