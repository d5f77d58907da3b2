//! What is seen of a host, out of invented readings.

use super::*;
use crate::model::host::{CgroupCpu, ForwarderTotals};

const CONFIG: &str = "[agent]\nregion = \"eu\"\nname = \"mediary-a\"\n\
    [[forwarder]]\nname = \"nginx\"\nprocess = \"nginx\"\n";

fn view(text: &str) -> HostView {
    HostView::new(&Config::parse(text, "insight.toml").unwrap().config)
}

fn reading(taken: Instant, seconds: u64) -> Arc<HostSnapshot> {
    let time = |seconds| Duration::from_secs(seconds);
    let forwarder = ForwarderSnapshot {
        name: "nginx".into(),
        pids: vec![41, 42],
        totals: Some(ForwarderTotals { run_delay: Some(time(3 * seconds)), ..ForwarderTotals::default() }),
        allowed_cpus: Some([1, 3].into()),
        allowed_busy: (seconds > 0).then_some(0.75),
        cgroup: Some(CgroupCpu { throttled: time(seconds), ..CgroupCpu::default() }),
        threads: vec![],
    };
    Arc::new(HostSnapshot {
        taken: taken + time(2 * seconds),
        period: time(2),
        cpus: Some([].into()),
        node: None,
        forwarders: vec![forwarder],
        unparsed: 0,
        capped: 0,
    })
}

#[test]
fn shares_are_of_the_time_between_two_readings_and_unknown_before() {
    let (view, began) = (view(CONFIG), Instant::now());
    let unread = ForwarderStatus { name: "nginx".into(), ..ForwarderStatus::default() };
    assert_eq!(view.forwarders(began), std::slice::from_ref(&unread));
    view.take(reading(began, 0));
    let once = view.forwarders(began).remove(0);
    assert_eq!((once.pids, once.throttled_share, once.run_delay_share), (Some(vec![41, 42]), None, None));
    view.take(reading(began, 1));
    let now = began + Duration::from_secs(2);
    let twice = view.forwarders(now).remove(0);
    assert_eq!(twice.allowed_cpus, Some(vec![1, 3]));
    let shares = [twice.busy_share, twice.throttled_share, twice.run_delay_share];
    assert_eq!(shares, [Some(0.75), Some(0.5), Some(1.5)]);
    assert_eq!(view.forwarders(now + Duration::from_secs(7)), [unread], "nobody reads it any more");
}

#[test]
fn the_state_says_off_unreadable_and_stopped() {
    let off = view(&format!("{CONFIG}[host]\nenabled = false\n")).states().remove(0);
    assert_eq!(
        (off.name.as_str(), off.state, off.reason.as_str()),
        ("host", MeasurementState::Disabled, "off")
    );
    let view = view(CONFIG);
    assert_eq!(view.states(), []);
    view.take(reading(Instant::now(), 0));
    assert_eq!(view.states()[0].state, MeasurementState::Active);
    let mut blind = (*reading(Instant::now(), 1)).clone();
    blind.cpus = None;
    view.take(Arc::new(blind));
    assert_eq!(view.states()[0].reason, "unreadable");
    let view = Arc::new(view);
    let watched = Arc::clone(&view);
    let ended = std::thread::spawn(move || {
        let _watch = Watch { view: watched, asked_to_stop: false };
        panic!("as it may");
    });
    assert!(ended.join().is_err());
    assert_eq!((view.states()[0].reason.as_str(), view.series().len()), ("stopped", 0));
}

#[test]
fn another_exporter_is_news_once_and_a_row_until_it_goes() {
    let view = view(CONFIG);
    assert!(view.find_duplicate(Some("process 7 is a node_exporter".into())));
    assert!(!view.find_duplicate(Some("process 7 is a node_exporter".into())));
    let row = view.states().remove(0);
    assert_eq!((row.name.as_str(), row.reason.as_str()), ("node_exporter", "duplicate"));
    assert!(row.detail.contains("host.node_metrics = false"), "{}", row.detail);
    view.find_duplicate(None);
    assert_eq!(view.states(), []);
}
