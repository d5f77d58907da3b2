extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const MS: u64 = 1_000_000;

#[test]
fn an_exchange_in_silence_is_measured_from_first_byte_to_first_byte() {
    let mut exchange = Exchange::new();
    exchange.ask(1_000 * MS);
    exchange.ask(1_000 * MS + BURST_NS);
    assert_eq!(exchange.answer(1_050 * MS, 0), Answer::Took(50 * MS));
    assert_eq!(exchange.answer(1_051 * MS, 0), Answer::Nothing, "the rest of the answer");
}

#[test]
fn a_second_request_spoils_the_exchange_and_those_that_may_get_its_answer() {
    let mut exchange = Exchange::new();
    exchange.ask(1_000 * MS);
    exchange.ask(1_010 * MS);
    assert_eq!(exchange.answer(1_020 * MS, 0), Answer::Overlapped);
    exchange.ask(1_030 * MS);
    assert_eq!(exchange.answer(1_031 * MS, 0), Answer::Overlapped, "the answer to the second request");
    exchange.ask(1_031 * MS + QUIET_NS);
    assert_eq!(exchange.answer(1_032 * MS + QUIET_NS, 0), Answer::Took(MS), "quiet again");
}

#[test]
fn a_request_right_behind_other_bytes_is_not_measured() {
    let mut exchange = Exchange::new();
    exchange.ask(1_000 * MS);
    assert_eq!(exchange.answer(1_001 * MS, 0), Answer::Took(MS));
    exchange.ask(1_001 * MS + IDLE_NS - 1);
    assert_eq!(exchange.answer(1_010 * MS, 0), Answer::Overlapped);
    let mut after = |at: u64| {
        exchange.ask(at);
        exchange.answer(at + 2 * MS, 0)
    };
    let others = [1_011, 1_014, 1_017].map(|at| after(at * MS));
    assert_eq!(others, [Answer::Overlapped, Answer::Overlapped, Answer::Took(2 * MS)]);
}

#[test]
fn the_first_exchanges_of_a_connection_are_left_out() {
    let mut exchange = Exchange::new();
    exchange.ask(1_000 * MS);
    assert_eq!(exchange.answer(1_001 * MS, 1), Answer::Opening);
    exchange.ask(1_100 * MS);
    assert_eq!(exchange.answer(1_101 * MS, 1), Answer::Overlapped, "or to a request of the opening");
    exchange.ask(1_101 * MS + QUIET_NS);
    assert_eq!(exchange.answer(1_102 * MS + QUIET_NS, 1), Answer::Took(MS));
}

#[test]
fn a_second_caller_during_the_opening_is_believed_after_silence_alone() {
    // Two who ask each 34 ms, 17 ms apart, and are answered after 24: each answer is the other's.
    let mut exchange = Exchange::new();
    let (mut events, mut false_ones) = (Vec::new(), 0);
    for nth in 0..60 {
        let at = 1_000 * MS + nth * 17 * MS;
        events.extend([(at, true), (at + 24 * MS, false)]);
    }
    events.sort_unstable();
    for (at, is_ask) in events {
        if is_ask {
            exchange.ask(at);
        } else if let Answer::Took(_) = exchange.answer(at, 1) {
            false_ones += 1;
        }
    }
    assert_eq!(false_ones, 0);
    exchange.ask(5_000 * MS);
    assert_eq!(exchange.answer(5_024 * MS, 1), Answer::Took(24 * MS));
}

#[test]
fn the_answer_to_a_request_that_came_with_the_settings_is_waited_for() {
    // As a work-stealing proxy began: SETTINGS with a request at 0 ms, the other side's after 6, and eight
    // callers who ask 17 ms after each other and are answered after 24.
    let (mut exchange, mut events) = (Exchange::new(), std::vec![(1_000, true), (1_006, false)]);
    events.extend((0..200).flat_map(|nth| [(1_000 + 17 * nth, true), (1_024 + 17 * nth, false)]).skip(1));
    events.sort_unstable();
    for (at, is_ask) in events {
        if is_ask {
            exchange.ask(at * MS);
        } else {
            assert!(!matches!(exchange.answer(at * MS, 1), Answer::Took(_)), "at {at}");
        }
    }
}

#[test]
fn one_caller_whose_answer_comes_behind_the_settings_is_measured_from_the_second_request_on() {
    let mut exchange = Exchange::new();
    exchange.ask(1_000 * MS);
    assert_eq!(exchange.answer(1_006 * MS, 1), Answer::Opening);
    assert_eq!(exchange.answer(1_024 * MS, 1), Answer::Nothing, "it was owed");
    exchange.ask(1_030 * MS);
    assert_eq!(exchange.answer(1_054 * MS, 1), Answer::Took(24 * MS));
}

#[test]
fn one_caller_who_was_greeted_is_measured_from_the_second_request_on() {
    let mut exchange = Exchange::new();
    assert_eq!(exchange.answer(1_000 * MS, 1), Answer::Nothing, "settings");
    exchange.ask(1_000 * MS + 100_000);
    assert_eq!(exchange.answer(1_034 * MS, 1), Answer::Opening);
    exchange.ask(1_040 * MS);
    assert_eq!(exchange.answer(1_064 * MS, 1), Answer::Took(24 * MS));
}

#[test]
fn of_a_hundred_streams_that_never_rest_nothing_is_measured() {
    // Answers come in every 0.2 to 1.2 ms, and each is followed by the next request at once: now and then
    // there is a silence long enough for one request to look alone.
    let (mut exchange, mut at, mut took) = (Exchange::new(), 1_000 * MS, 0);
    for nth in 0..20_000_u64 {
        exchange.ask(at);
        at += 200_000 + (nth * 7_919) % 1_000_000;
        took += u32::from(matches!(exchange.answer(at, 1), Answer::Took(_)));
        at += if nth % 97 == 50 { 600_000 } else { 50_000 };
    }
    assert_eq!(took, 0);
}

#[test]
fn settings_right_before_the_first_request_cost_what_follows_until_silence() {
    let mut exchange = Exchange::new();
    exchange.ask(1_000 * MS);
    exchange.ask(1_004 * MS);
    assert_eq!(exchange.answer(1_040 * MS, 1), Answer::Opening);
    // Without a pause, as two callers who began together would look.
    for nth in 0..200 {
        let at = (1_045 + 25 * nth) * MS;
        exchange.ask(at);
        assert_eq!(exchange.answer(at + 20 * MS, 1), Answer::Overlapped);
    }
    exchange.ask(9_000 * MS);
    assert_eq!(exchange.answer(9_020 * MS, 1), Answer::Took(20 * MS));
}

#[test]
fn a_request_whose_writer_lost_its_cpu_is_doubted_and_costs_a_few_exchanges() {
    let (mut exchange, mut clean) = (Exchange::new(), 0);
    for nth in 0..200 {
        let at = (1_000 + 27 * nth) * MS;
        exchange.ask(at);
        if nth == 20 {
            exchange.ask(at + 4 * MS);
        }
        match exchange.answer(at + 22 * MS, 0) {
            Answer::Took(took) => clean += u32::from(took == 22 * MS),
            other => assert_eq!((other, (20..24).contains(&nth)), (Answer::Overlapped, true), "{nth}"),
        }
    }
    assert!(clean >= 196, "{clean}");
}

#[test]
fn a_write_that_is_stamped_after_its_answer_is_no_second_request() {
    let (mut exchange, mut at) = (Exchange::new(), 1_000 * MS);
    for _ in 0..5 {
        exchange.ask(at);
        assert_eq!(exchange.answer(at + 400_000, 0), Answer::Took(400_000));
        exchange.ask(at + 410_000);
        assert_eq!(exchange.answer(at + 450_000, 0), Answer::Nothing, "the rest of the answer");
        at += 30 * MS;
    }
}

#[test]
fn a_writer_that_lost_its_cpu_for_long_costs_a_few_exchanges_too() {
    let (mut exchange, mut clean) = (Exchange::new(), 0);
    for nth in 0..200 {
        let at = (1_000 + 32 * nth) * MS;
        exchange.ask(at);
        if nth == 20 {
            exchange.ask(at + 9 * MS);
        }
        match exchange.answer(at + (20 + nth % 5) * MS, 0) {
            Answer::Took(_) => clean += 1,
            other => assert_eq!((other, (20..25).contains(&nth)), (Answer::Overlapped, true), "{nth}"),
        }
    }
    assert!(clean >= 195, "{clean}");
}

#[test]
fn two_callers_who_begin_together_are_not_believed() {
    // Both wait for 24 ms, and ask again 1 and 6 ms after their answers: the answers come by turns.
    let mut exchange = Exchange::new();
    exchange.ask(1_000 * MS);
    assert_eq!(exchange.answer(1_020 * MS, 1), Answer::Opening, "the other side's settings");
    let mut events: Vec<_> = Vec::new();
    for (from, pause) in [(1_030, 10), (1_033, 11)] {
        for nth in 0..20 {
            let at = from + nth * (24 + pause);
            events.extend([(at * MS, true), ((at + 24) * MS, false)]);
        }
    }
    events.sort_unstable();
    for (at, is_ask) in events {
        if is_ask {
            exchange.ask(at);
        } else {
            assert!(!matches!(exchange.answer(at, 1), Answer::Took(_)), "at {at}");
        }
    }
}

#[test]
fn requests_that_begin_to_overlap_evenly_are_measured_no_more() {
    // Alone at first; then each 50 ms for ever, with an answer after 60.
    for distance in [17, 31, 41, 50, 59] {
        let mut exchange = Exchange::new();
        for nth in 0..10 {
            exchange.ask((1_000 + 300 * nth) * MS);
            assert_eq!(exchange.answer((1_060 + 300 * nth) * MS, 0), Answer::Took(60 * MS));
        }
        let mut events: Vec<(u64, bool)> =
            (0..2_000).flat_map(|n| [(5_000 + distance * n, true), (5_060 + distance * n, false)]).collect();
        events.sort_unstable();
        for (at, asks) in events {
            if asks {
                exchange.ask(at * MS);
            } else if let Answer::Took(took) = exchange.answer(at * MS, 0) {
                panic!("{took} ns at a distance of {distance} ms");
            }
        }
    }
}

#[test]
fn an_even_stream_of_more_than_one_request_at_once_is_never_measured() {
    // Asked each 50 ms, answered after 60: one is always open when the next one comes.
    let mut exchange = Exchange::new();
    let mut events: Vec<(u64, bool)> =
        (0..400).flat_map(|n| [(1_000 + 50 * n, true), (1_060 + 50 * n, false)]).collect();
    events.sort();
    let mut seen = Vec::new();
    for (at, asks) in events {
        if asks {
            exchange.ask(at * MS);
        } else if let Answer::Took(took) = exchange.answer(at * MS, 0) {
            seen.push(took);
        }
    }
    assert_eq!(seen, []);
}

/// Asks and answers `count` times, 20 ms each with 3 to 22 ms between. Gives how many were measured.
fn answered_alone(exchange: &mut Exchange, from: u64, count: u64) -> usize {
    let mut at = from;
    let measured = (0..count).filter(|nth| {
        exchange.ask(at);
        at += (23 + 7 * nth % 20) * MS;
        exchange.answer(at - (3 + 7 * nth % 20) * MS, 1) == Answer::Took(20 * MS)
    });
    measured.count()
}

#[test]
fn a_connection_joined_in_the_middle_is_measured_on_evidence() {
    let mut exchange = Exchange::joined(1_000 * MS, 1);
    assert_eq!(exchange.answer(1_010 * MS, 1), Answer::Nothing, "of a request that nobody saw");
    // The first distance is not known, the second one is what others are compared with.
    let least = u64::from(ALONE_JOINED) / u64::from(MOST_EVIDENCE) + 2;
    assert_eq!(answered_alone(&mut exchange, 1_020 * MS, least), 0);
    let mut exchange = Exchange::joined(1_000 * MS, 1);
    let measured = answered_alone(&mut exchange, 1_020 * MS, 100);
    assert!((80..=100 - least as usize).contains(&measured), "{measured}");
}

#[test]
fn what_is_perfectly_even_is_believed_after_silence_alone_once_joined() {
    let mut exchange = Exchange::joined(1_000 * MS, 1);
    for nth in 0..2_000 {
        let at = (1_020 + 25 * nth) * MS;
        exchange.ask(at);
        assert_eq!(exchange.answer(at + 20 * MS, 1), Answer::Overlapped, "or every second one is owed");
    }
    exchange.ask(60_000 * MS);
    assert_eq!(exchange.answer(60_020 * MS, 1), Answer::Took(20 * MS));
}

#[test]
fn a_connection_joined_in_the_middle_is_measured_after_silence() {
    let mut exchange = Exchange::joined(1_000 * MS, 1);
    assert_eq!(answered_alone(&mut exchange, 1_000 * MS + QUIET_NS, 3), 3);
    let mut exchange = Exchange::joined(1_000 * MS, 1);
    assert_eq!(answered_alone(&mut exchange, 999 * MS + QUIET_NS, 3), 0, "not yet silent for long");
}

#[test]
fn of_two_users_who_seem_to_take_turns_next_to_nothing_is_measured_once_joined() {
    let (mut measured, mut answers) = (0, 0);
    for seed in 0..200 {
        let mut exchange = None;
        // Each asks 1 to 20 ms after its answer, which takes 60: a request is always open.
        let (mut random, mut due) = (seed, [(1_000 * MS, true), (1_033 * MS, true)]);
        for _ in 0..2_000 {
            let who = usize::from(due[1].0 < due[0].0);
            let (at, asks) = due[who];
            random = u64::wrapping_add(u64::wrapping_mul(random, 6_364_136_223_846_793_005), 1_442_695);
            let think = MS + (random >> 33) % (19 * MS);
            due[who] = (at + if asks { 60 * MS } else { think }, !asks);
            if at < 1_200 * MS {
                continue; // nobody watches yet
            }
            let exchange = exchange.get_or_insert_with(|| Exchange::joined(at, 1));
            if asks {
                exchange.ask(at);
            } else {
                answers += 1;
                measured += u32::from(matches!(exchange.answer(at, 1), Answer::Took(_)));
            }
        }
    }
    assert!(measured < answers / 200, "{measured} of {answers}");
}

#[test]
fn housekeeping_is_known_by_its_size_and_with_tls_only_where_there_is_tls() {
    for size in [9, 13, 17, 22, 26, 30, 34] {
        assert!(Control::Plain.is(size) && Control::Tls.is(size) && Control::Tls.is(size + 22));
        assert!(!Control::Nothing.is(size));
    }
    for size in [31, 35, 39, 44, 48, 52, 56] {
        assert!(!Control::Plain.is(size), "{size}: a small request in plaintext");
    }
    assert!(!Control::Tls.is(58) && !Control::Tls.is(32) && !Control::Tls.is(0), "an empty health check");
    assert_eq!([0, 1, 2].map(|skip| Control::of(true, skip)), [Control::Plain, Control::Plain, Control::Tls]);
    assert_eq!(Control::of(false, 2), Control::Nothing);
}

proptest! {
    #[test]
    fn what_is_measured_lies_between_a_request_and_its_answer(steps in prop::collection::vec((any::<bool>(), 1_u64..300 * MS), 1..200)) {
        let (mut exchange, mut now, mut open) = (Exchange::new(), 1_000 * MS, None);
        for (asks, step) in steps {
            now += step;
            if asks {
                exchange.ask(now);
                open = open.or(Some(now));
            } else if let Answer::Took(took) = exchange.answer(now, 0) {
                prop_assert_eq!(Some(now - took), open);
                open = None;
            } else {
                open = None;
            }
        }
    }
}
