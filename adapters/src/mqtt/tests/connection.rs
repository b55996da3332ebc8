use ucifi_core::field::Reachability;

use super::super::{ConfigError, limits};
use super::*;

#[test]
fn every_topic_is_subscribed_to_some_at_a_time_and_qos_2_as_qos_1() {
    let devices = (0..100).map(|n| plug(&format!("plug-{n}"))).collect();
    let mut rig = Rig::with(config(devices));
    assert_eq!(rig.actions(), [Action::Connect]);
    rig.client.handle_connected(false, rig.now);
    let sent = rig.subscribe();
    let sizes: Vec<usize> = sent.iter().map(Vec::len).collect();
    assert_eq!(sizes, [64, 64, 64, 9]);
    let all: Vec<(String, Qos)> = sent.concat();
    assert!(all.contains(&("tele/plug-7/LWT".to_owned(), Qos::AtLeastOnce)));
    assert!(all.contains(&("tele/+/LWT".to_owned(), Qos::AtMostOnce)));
    assert!(all.iter().all(|(_, qos)| *qos != Qos::ExactlyOnce));
}

#[test]
fn a_refused_subscription_is_told_for_its_device() {
    let mut rig = Rig::with(config(vec![plug("a")]));
    rig.client.handle_connected(false, rig.now);
    let answers = vec![Ok(()), Err("NotAuthorized".to_owned()), Ok(())];
    rig.client.handle_subscribed(answers, rig.now);
    let events = rig.events();
    let [
        Event::Reachability { reachability, .. },
        Event::SubscriptionRefused {
            link: device, topic, ..
        },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert!(matches!(reachability, Reachability::Unreachable(why) if why.contains("NotAuthorized")));
    assert_eq!(
        (device.as_ref(), topic.as_str()),
        (Some(&link("a")), "tele/a/SENSOR")
    );
    assert_eq!(rig.client.statistics().broker.subscriptions_refused, 1);
}

#[test]
fn a_broker_that_answers_no_subscribe_or_a_wrong_one_is_left() {
    let mut rig = Rig::with(config(vec![plug("a")]));
    rig.client.handle_connected(false, rig.now);
    rig.actions();
    rig.pass(ms(limits::SUBACK_MS));
    assert!(matches!(rig.actions().as_slice(), [Action::Disconnect { .. }]));
    rig.disconnect();
    rig.pass(ms(limits::LAST_PAUSE_MS));
    rig.client.handle_connected(false, rig.now);
    rig.client.handle_subscribed(vec![Ok(())], rig.now);
    let actions = rig.actions();
    assert!(
        matches!(actions.last(), Some(Action::Disconnect { .. })),
        "{actions:?}"
    );
}

#[test]
fn a_broker_that_is_away_is_tried_again_ever_more_seldom_and_at_odd_moments() {
    let mut rig = Rig::with(config(vec![plug("a")]));
    assert_eq!(rig.actions(), [Action::Connect]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let failed = rig.now;
        rig.disconnect();
        while rig.actions() != [Action::Connect] {
            rig.wait();
        }
        pauses.push((rig.now - failed).as_secs_f64());
    }
    for (pause, base) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
        assert!((0.74..1.26).contains(&(pause / base)), "{pauses:?}");
    }
    assert_ne!(pauses[6], pauses[7]);
}

#[test]
fn pauses_go_on_growing_after_a_connection_that_did_not_last() {
    let mut rig = Rig::with(config(vec![plug("a")]));
    for _ in 0..5 {
        rig.connect();
        rig.disconnect();
    }
    let gone = rig.now;
    rig.connect();
    assert!(rig.now - gone > ms(10_000));
    rig.pass(ms(limits::GOOD_CONNECTION_MS));
    rig.disconnect();
    let gone = rig.now;
    rig.connect();
    assert!(rig.now - gone < ms(2_000));
}

#[test]
fn devices_are_unreachable_when_the_broker_is_away_for_long_and_reachable_when_they_are_heard() {
    let mut rig = Rig::connected();
    rig.say(sensor("a", 1));
    rig.events();
    rig.disconnect();
    rig.pass(ms(limits::AWAY_MS - 1));
    assert_eq!(rig.events(), []);
    rig.pass(ms(1));
    let away: Vec<Link> = rig.unreachable();
    assert_eq!(away, [link("a"), link("b/c")]);
    rig.pass(ms(600_000));
    assert_eq!(rig.events(), []);
    rig.actions();
    rig.client.handle_connected(true, rig.now);
    assert_eq!(rig.events(), []);
    rig.say(sensor("a", 1));
    let heard = Event::Reachability {
        link: link("a"),
        reachability: Reachability::Reachable,
    };
    assert_eq!(rig.events().first(), Some(&heard));
}

#[test]
fn a_topic_that_cannot_be_told_apart_or_subscribed_to_is_an_error() {
    let failed = |config| Client::new(config, 1, start()).unwrap_err();
    for wrong in ["", "a+", "#", "a\0"] {
        let error = failed(config(vec![plug(wrong)]));
        assert!(matches!(error, ConfigError::Device { .. }), "{error}");
    }
    let long = "x".repeat(limits::TOPIC_BYTES);
    let error = failed(config(vec![plug(&long)]));
    assert!(matches!(error, ConfigError::LongTopic { .. }));
    let error = failed(config(vec![plug("a"), plug("a")]));
    assert!(matches!(error, ConfigError::SharedTopic { .. }), "{error}");
    let error = failed(BrokerConfig {
        discovery: vec![template("tele/x{device}/LWT")],
        ..config(vec![])
    });
    assert!(error.to_string().contains("tele/x{device}/LWT"), "{error}");
    let error = failed(BrokerConfig {
        receive_window: 0,
        ..config(vec![])
    });
    assert!(matches!(error, ConfigError::NoWindow { .. }));
}

impl Rig {
    fn unreachable(&mut self) -> Vec<Link> {
        let events = self.events().into_iter();
        events
            .filter_map(|event| {
                let Event::Reachability {
                    link,
                    reachability: Reachability::Unreachable(_),
                } = event
                else {
                    return None;
                };
                Some(link)
            })
            .collect()
    }
}
