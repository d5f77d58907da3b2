//! Verdicts on samples of which the truth is written down.

use super::*;

/// As the agent shows them: bounds of powers of two from 1.024 µs on.
fn of(values: &[f64]) -> Histogram {
    let bounds = (0..25).map(|power| 1.024e-6 * f64::from(1_u32 << power)).chain([f64::INFINITY]);
    let below = |bound: f64| values.iter().filter(|value| **value <= bound).count() as f64;
    let buckets = bounds.map(|bound| (bound, below(bound))).collect();
    Histogram { buckets, sum: values.iter().sum(), count: values.len() as f64 }
}

fn evidence(values: &[f64], lost: f64, events: Events) -> Evidence {
    let lost = Lost::from([("overlapped".to_owned(), lost)]);
    Evidence { samples: of(values), lost, events }
}

const THINK: Known = Known::exactly(0.020);

#[test]
fn a_median_near_the_truth_is_right_and_one_beside_it_is_wrong() {
    assert_eq!(
        durations(&evidence(&[0.0203; 100], 0.0, Events::Each(100.0)), THINK),
        Verdict::Right("20.3 ms of 20.0 ms".into())
    );
    // Outside of 17 % and 1 ms on either side, though in the same bucket of the page.
    for wrong in [0.0031, 0.0172 - 0.0018, 0.0251, 0.033, 0.2] {
        let verdict = durations(&evidence(&[wrong; 100], 0.0, Events::Each(100.0)), THINK);
        assert!(verdict.is_wrong(), "{wrong}: {verdict:?}");
    }
    let verdict = durations(&evidence(&[0.0031; 100], 0.0, Events::Each(100.0)), THINK);
    assert_eq!(verdict, Verdict::Wrong("3.1 ms of 20.0 ms".into()));
}

#[test]
fn a_few_late_samples_do_not_move_the_median() {
    let late = [[0.0205; 95].as_slice(), &[0.9; 5]].concat();
    assert!(!durations(&evidence(&late, 0.0, Events::Each(100.0)), THINK).is_wrong());
}

#[test]
fn a_third_of_false_samples_is_wrong_even_if_the_median_is_not() {
    let mixed = [[0.0205; 65].as_slice(), &[0.002; 35]].concat();
    let verdict = durations(&evidence(&mixed, 0.0, Events::Each(100.0)), THINK);
    assert!(verdict.is_wrong(), "{verdict:?}");
}

#[test]
fn who_measures_nothing_and_counts_why_has_refused() {
    let verdict = durations(&evidence(&[0.001; 2], 98.0, Events::Each(100.0)), THINK);
    assert_eq!(verdict, Verdict::Refused("overlapped 98 %; 2 false samples".into()));
}

#[test]
fn events_that_are_neither_measured_nor_lost_are_wrong() {
    let verdict = durations(&evidence(&[0.020; 50], 40.0, Events::Each(100.0)), THINK);
    assert_eq!(verdict, Verdict::Wrong("50 samples and 40 losses of 100 events".into()));
    assert!(
        durations(&evidence(&[], 0.0, Events::Unknown), THINK).is_wrong(),
        "nothing at all is no refusal"
    );
    assert!(durations(&evidence(&[], 94.0, Events::Each(100.0)), THINK).is_wrong());
}

#[test]
fn requests_that_share_connections_need_not_be_accounted_for_one_by_one() {
    let shared = Events::Shared(100.0);
    let verdict = durations(&evidence(&[0.020; 2], 60.0, shared), THINK);
    let why = "2 samples of 100 requests that share connections; overlapped 60";
    assert_eq!(verdict, Verdict::Refused(why.into()));
    assert!(durations(&evidence(&[0.003; 6], 60.0, shared), THINK).is_wrong(), "6 % are figures");
    assert!(!durations(&evidence(&[0.020; 6], 60.0, shared), THINK).is_wrong());
}

#[test]
fn a_direction_is_used_only_above_half_of_its_writes() {
    let pairs =
        |paired, no_read| Lost::from([("paired".to_owned(), paired), ("no_read".to_owned(), no_read)]);
    let wrong = evidence(&[0.0001; 100], 0.0, Events::Unknown);
    assert_eq!(paired(&wrong, &pairs(50.0, 50.0), THINK), Verdict::Refused("50 % of writes paired".into()));
    assert!(paired(&wrong, &pairs(51.0, 49.0), THINK).is_wrong());
    let right = evidence(&[0.020; 100], 0.0, Events::Unknown);
    assert_eq!(
        paired(&right, &pairs(100.0, 0.0), THINK),
        Verdict::Right("20.0 ms of 20.0 ms (100 % paired)".into())
    );
    assert!(paired(&right, &Lost::new(), THINK).is_wrong());
}

#[test]
fn waits_of_a_known_time_are_counted_and_none_may_be_longer() {
    let known = Known { least: 0.380, most: 0.382 };
    let quick = [0.0001; 40];
    let with = |waits: &[f64]| of(&[quick.as_slice(), waits].concat());
    assert_eq!(
        cluster(&with(&[0.381; 4]), known, 4.0, 4.0),
        Verdict::Right("4 waits of 380 ms to 382 ms".into())
    );
    for (waits, why) in [
        (vec![0.381; 3], "one is missing"),
        (vec![0.381; 5], "one too many"),
        (vec![0.381, 0.381, 0.381, 0.9], "one too long"),
        (vec![0.525; 4], "too long within the bucket"),
        (vec![0.280; 4], "too short within the bucket"),
    ] {
        assert!(cluster(&with(&waits), known, 4.0, 4.0).is_wrong(), "{why}");
    }
    assert!(!cluster(&with(&[0.381; 6]), known, 4.0, 8.0).is_wrong());
}

#[test]
fn counts_and_sums_have_bounds_on_both_sides() {
    assert_eq!(count(20.0, 20.0, 20.0), Verdict::Right("20 of 20".into()));
    assert_eq!(count(21.0, 20.0, 20.0), Verdict::Wrong("21 of 20".into()));
    assert!(count(19.0, 20.0, 30.0).is_wrong() && !count(30.0, 20.0, 30.0).is_wrong());
    assert_eq!(seen(316.0, 317.0, 317.0), Verdict::Right("316 of 317".into()));
    assert!(seen(300.0, 317.0, 317.0).is_wrong() && seen(318.0, 317.0, 317.0).is_wrong());
    assert!(!account(1.1, 1.0).is_wrong());
    assert!(account(1.3, 1.0).is_wrong() && account(0.7, 1.0).is_wrong());
}

#[test]
fn a_cell_is_wrong_if_any_part_is_and_refused_only_if_all_are() {
    let [right, refused, wrong] =
        [Verdict::Right("a".into()), Verdict::Refused("b".into()), Verdict::Wrong("c".into())];
    assert_eq!(Verdict::all(vec![right.clone(), wrong.clone(), refused.clone()]), wrong);
    assert_eq!(Verdict::all(vec![right.clone(), refused.clone()]), Verdict::Right("a; refused: b".into()));
    assert_eq!(Verdict::all(vec![refused.clone(), refused.clone()]), Verdict::Refused("b; b".into()));
    assert_eq!(right.of("up"), Verdict::Right("up a".into()));
}
