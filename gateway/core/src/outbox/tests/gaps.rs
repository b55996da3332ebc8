//! What goes that nobody paid: it takes nothing healthy with it.

use super::*;

#[test]
fn setting_a_reading_aside_settles_none_that_is_under_way() {
    let mut bench = restored(129, 0);
    bench.load(0..129);
    let (id, _) = bench.take(0).unwrap();
    bench.finish(id, SendOutcome::Delivered, 0);
    bench.load(0..129);
    assert_eq!(bench.settled(), [0..=63]);
    let (id, values) = bench.take(0).unwrap();
    assert_eq!(values, (64..128).collect::<Vec<_>>());
    bench.load(0..129);
    assert_eq!(bench.set_aside(|reading| reading.seq != 128), 1);
    assert_eq!(bench.settled(), [128..=128], "the others may come back yet");
    bench.finish(id, SendOutcome::TimedOut, 0);
    bench.load(64..128);
    assert_eq!(bench.take(10).unwrap().1, values);
    assert!(bench.adds_up(129));
}
