use ucifi_core::Downlink;
use ucifi_core::field::{Delivery, DownlinkId, Frame, MqttPublish, Refusal};

use super::super::limits;
use super::*;

fn switch(id: u64, device: &str, resource: u16) -> Downlink {
    Downlink {
        id: DownlinkId(id),
        link: link(device),
        path: format!("/3416/0/{resource}").parse().unwrap(),
        frame: Frame::MqttPublish(MqttPublish {
            topic: template("cmnd/{device}/POWER"),
            payload: b"ON".to_vec(),
            qos: Qos::AtLeastOnce,
            retain: false,
        }),
    }
}

impl Rig {
    fn tell(&mut self, downlink: Downlink) {
        self.client.handle_downlink(downlink, self.now);
    }

    fn published(&mut self) -> Vec<u64> {
        let actions = self.actions().into_iter();
        actions
            .filter_map(|action| {
                let Action::Publish { id, .. } = action else {
                    return None;
                };
                Some(id.0)
            })
            .collect()
    }

    fn deliveries(&mut self) -> Vec<(u64, Delivery)> {
        let events = self.events().into_iter();
        events
            .filter_map(|event| {
                let Event::Delivery { id, delivery } = event else {
                    return None;
                };
                Some((id.0, delivery))
            })
            .collect()
    }
}

#[test]
fn a_command_is_published_for_its_device_and_sent_when_the_broker_has_it() {
    let mut rig = Rig::connected();
    rig.tell(switch(1, "b/c", 1));
    assert_eq!(
        rig.actions(),
        [Action::Publish {
            id: DownlinkId(1),
            topic: "cmnd/b/c/POWER".to_owned(),
            payload: b"ON".to_vec(),
            qos: Qos::AtLeastOnce,
            retain: false,
        }]
    );
    assert_eq!(rig.deliveries(), []);
    rig.client.handle_published(DownlinkId(1), Ok(()), rig.now);
    assert_eq!(rig.deliveries(), [(1, Delivery::Sent)]);
}

#[test]
fn qos_2_is_published_as_qos_1() {
    let mut rig = Rig::connected();
    let mut downlink = switch(1, "a", 1);
    if let Frame::MqttPublish(publish) = &mut downlink.frame {
        publish.qos = Qos::ExactlyOnce;
    }
    rig.tell(downlink);
    let actions = rig.actions();
    assert!(matches!(
        actions.as_slice(),
        [Action::Publish {
            qos: Qos::AtLeastOnce,
            ..
        }]
    ));
}

#[test]
fn the_brokers_no_is_the_devices_no() {
    let mut rig = Rig::connected();
    rig.tell(switch(1, "a", 1));
    let no = Refusal {
        code: 0x87,
        text: "not authorized".to_owned(),
    };
    rig.client
        .handle_published(DownlinkId(1), Err(no.clone()), rig.now);
    assert_eq!(rig.deliveries(), [(1, Delivery::Refused(no))]);
}

#[test]
fn a_publish_without_answer_is_unconfirmed_and_a_late_answer_changes_nothing() {
    let mut rig = Rig::connected();
    rig.tell(switch(1, "a", 1));
    rig.pass(ms(limits::PUBACK_MS));
    let ended = rig.deliveries();
    assert!(
        matches!(ended.as_slice(), [(1, Delivery::Unconfirmed(_))]),
        "{ended:?}"
    );
    rig.client.handle_published(DownlinkId(1), Ok(()), rig.now);
    assert_eq!(rig.deliveries(), []);
}

#[test]
fn a_command_for_a_broker_that_is_away_is_told_when_to_come_back() {
    let mut rig = Rig::with(config(vec![plug("a")]));
    rig.disconnect();
    rig.tell(switch(1, "a", 1));
    let ended = rig.deliveries();
    assert!(
        matches!(
            ended.as_slice(),
            [(
                1,
                Delivery::Unreachable {
                    retry_after_secs: 1..=2
                }
            )]
        ),
        "{ended:?}"
    );
}

#[test]
fn few_commands_are_under_way_and_a_lost_connection_ends_them_all() {
    let mut rig = Rig::connected();
    for id in 0..6 {
        rig.tell(switch(id, "a", u16::try_from(id).unwrap()));
    }
    assert_eq!(rig.published(), [0, 1, 2, 3]);
    rig.client.handle_published(DownlinkId(2), Ok(()), rig.now);
    assert_eq!(rig.published(), [4]);
    rig.events();
    rig.disconnect();
    let ended = rig.deliveries();
    let unconfirmed = |(_, delivery): &&(u64, Delivery)| matches!(delivery, Delivery::Unconfirmed(_));
    let unsent = |(_, delivery): &&(u64, Delivery)| matches!(delivery, Delivery::Unreachable { .. });
    assert_eq!(ended.iter().filter(unconfirmed).count(), 4);
    assert_eq!(
        ended.iter().filter(unsent).map(|(id, _)| *id).collect::<Vec<_>>(),
        [5]
    );
}

#[test]
fn a_later_command_takes_the_place_of_one_that_waits_for_the_same_resource() {
    let mut rig = Rig::connected();
    for id in 0..4 {
        rig.tell(switch(id, "a", 1));
    }
    rig.tell(switch(10, "a", 1));
    rig.tell(switch(11, "b/c", 1));
    rig.tell(switch(12, "a", 1));
    assert_eq!(rig.deliveries(), [(10, Delivery::Superseded)]);
}

#[test]
fn the_queue_of_commands_is_bounded_in_number_and_time() {
    let mut rig = Rig::connected();
    let room = limits::PUBLISHES + limits::COMMANDS;
    for id in 0..=room {
        rig.tell(switch(id as u64, "a", u16::try_from(id).unwrap()));
    }
    assert_eq!(rig.deliveries(), [(room as u64, Delivery::Expired)]);
    assert_eq!(rig.client.statistics().broker.commands_dropped, 1);
    rig.pass(ms(limits::COMMAND_WAIT_MS));
    let ended = rig.deliveries();
    let expired = ended.iter().filter(|(_, d)| *d == Delivery::Expired).count();
    assert_eq!((ended.len(), expired), (room, limits::COMMANDS));
}

#[test]
fn what_cannot_be_published_is_refused() {
    let mut rig = Rig::connected();
    rig.tell(switch(1, "stranger", 1));
    let mut long = switch(2, "a", 1);
    if let Frame::MqttPublish(publish) = &mut long.frame {
        publish.payload = vec![0; limits::PAYLOAD_BYTES + 1];
    }
    rig.tell(long);
    let ended = rig.deliveries();
    assert!(
        ended.iter().all(|(_, d)| matches!(d, Delivery::Refused(_))),
        "{ended:?}"
    );
    assert_eq!(ended.len(), 2);
    let mut denied = Rig::with(BrokerConfig {
        writes: Writes::Deny,
        ..config(vec![plug("a")])
    });
    denied.connect();
    denied.tell(switch(1, "a", 1));
    assert_eq!(denied.deliveries(), [(1, Delivery::Denied)]);
}
