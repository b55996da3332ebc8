//! The codec against foreign bytes: the examples of the protocol and those of another implementation's tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::lorawan::{DataRate, TxError, When};

fn datagram(identifier: u8, body: &str) -> Vec<u8> {
    let mut bytes = vec![2, 0xab, 0xcd, identifier, 1, 2, 3, 4, 5, 6, 7, 8];
    bytes.extend(body.as_bytes());
    bytes
}

fn push_data(body: &str) -> PushData {
    match decode(&datagram(0, body)).map(|datagram| datagram.content) {
        Ok(Content::PushData(push_data)) => push_data,
        other => panic!("{body}: {other:?}"),
    }
}

fn tx_ack(body: &str) -> TxAck {
    match decode(&datagram(5, body)).map(|datagram| datagram.content) {
        Ok(Content::TxAck(ack)) => ack,
        other => panic!("{body}: {other:?}"),
    }
}

// PROTOCOL.md of Lora-net/sx1302_hal, revision 1.6, section 4: the example of "rxpk".
const RXPK: &str = r#"{"rxpk":[
	{
		"tmst":3512348611,
		"time":"2020-10-01T09:30:52.592567Z",
		"tmms":1285579871592,
		"ftime":85224290,
		"chan":2,
		"rfch":0,
		"freq":866.349812,
		"mid":3,
		"stat":1,
		"modu":"LORA",
		"datr":"SF7BW125",
		"codr":"4/6",
		"rssi":-35,
		"lsnr":5.1,
		"foff":-3313,
		"size":32,
		"data":"-DS4CGaDCdG+48eJNM3Vai-zDpsR71Pn9CPA9uCON84"
	},{
		"time":"2013-03-31T16:21:17.530974Z",
		"tmst":3512348514,
		"chan":9,
		"rfch":1,
		"freq":869.1,
		"stat":1,
		"modu":"FSK",
		"datr":50000,
		"rssi":-75,
		"size":16,
		"data":"VEVTVF9QQUNLRVRfMTIzNA=="
	},{
		"time":"2013-03-31T16:21:17.532038Z",
		"tmst":3316387610,
		"chan":0,
		"rfch":0,
		"freq":863.00981,
		"stat":1,
		"modu":"LORA",
		"datr":"SF10BW125",
		"codr":"4/7",
		"rssi":-38,
		"lsnr":5.5,
		"size":32,
		"data":"ysgRl452xNLep9S1NTIg2lomKDxUgn3DJ7DE+b00Ass"
	}
]}"#;

#[test]
fn the_frames_of_the_protocols_example_are_heard() {
    let heard = push_data(RXPK);
    let [first, second] = heard.received.as_slice() else {
        panic!("{heard:?}");
    };
    assert_eq!((first.tmst, first.frequency_hz), (3_512_348_611, 866_349_812));
    assert_eq!(
        (first.data_rate, first.rssi_dbm, first.snr_db),
        (DataRate::Dr5, -35.0, 5.1)
    );
    assert_eq!(first.phy.len(), 32);
    assert_eq!(first.phy[..4], [0xf8, 0x34, 0xb8, 0x08]);
    assert_eq!((second.tmst, second.frequency_hz), (3_316_387_610, 863_009_810));
    assert_eq!(second.data_rate, DataRate::Dr2);
    assert_eq!(second.phy[..4], [0xca, 0xc8, 0x11, 0x97]);
    // The one between them is FSK.
    assert_eq!((heard.unusable, heard.bad_crc, heard.stat), (1, 0, None));
}

// The same, section 4: the example of "stat".
#[test]
fn the_state_of_the_protocols_example_is_read() {
    let body = r#"{"stat":{
    "time":"2014-01-12 08:59:28 GMT",
    "lati":46.24000,
    "long":3.25230,
    "alti":145,
    "rxnb":2,
    "rxok":2,
    "rxfw":2,
    "ackr":100.0,
    "dwnb":2,
    "txnb":2,
    "temp": 23.2
}}"#;
    let stat = push_data(body).stat.expect("there is one");
    assert_eq!(
        (stat.heard, stat.crc_ok, stat.told_to_send, stat.sent),
        (2, 2, 2, 2)
    );
    assert_eq!(stat.crc_errors(), 0);
}

// chirpstack-gateway-bridge (MIT), internal/backend/semtechudp/packets/push_data_test.go and tx_ack_test.go.
#[test]
fn the_bytes_of_another_implementations_tests_are_decoded() {
    let bytes = [2, 123, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 123, 125];
    let expected = Datagram {
        version: Version::V2,
        token: Token([123, 0]),
        forwarder: ForwarderId([1, 2, 3, 4, 5, 6, 7, 8]),
        content: Content::PushData(PushData::default()),
    };
    assert_eq!(decode(&bytes), Ok(expected));
    let accepted = Datagram {
        version: Version::V2,
        token: Token([123, 0]),
        forwarder: ForwarderId([8, 7, 6, 5, 4, 3, 2, 1]),
        content: Content::TxAck(TxAck::Accepted { other_power: false }),
    };
    let bytes = [2, 123, 0, 5, 8, 7, 6, 5, 4, 3, 2, 1];
    assert_eq!(decode(&bytes).as_ref(), Ok(&accepted));
    // A NUL where there is no body, as an iBTS sends it.
    let bytes = [2, 123, 0, 5, 8, 7, 6, 5, 4, 3, 2, 1, 0];
    assert_eq!(decode(&bytes).as_ref(), Ok(&accepted));
    let bytes = [
        2, 123, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 123, 34, 116, 120, 112, 107, 95, 97, 99, 107, 34, 58, 123, 34,
        101, 114, 114, 111, 114, 34, 58, 34, 67, 79, 76, 76, 73, 83, 73, 79, 78, 95, 66, 69, 65, 67, 79, 78,
        34, 125, 125,
    ];
    let refused = TxAck::Refused {
        error: TxError::CollisionBeacon,
        text: "COLLISION_BEACON".to_owned(),
    };
    assert_eq!(
        decode(&bytes).map(|datagram| datagram.content),
        Ok(Content::TxAck(refused))
    );
}

// The same, TestGetUplinkFrame: one frame at two antennas.
#[test]
fn the_best_of_several_antennas_counts() {
    let heard = push_data(
        r#"{"rxpk":[{"tmst":1000000,"freq":868.3,"brd":2,"chan":1,"rfch":3,"stat":1,"modu":"LORA","datr":"SF12BW125",
        "codr":"4/5","rssi":-60,"lsnr":5.5,"size":5,"data":"AQIDBAU=","rsig":[
        {"ant":8,"chan":9,"lsnr":6.6,"etime":"AgMEBQ==","rssic":-70},{"ant":9,"chan":10,"lsnr":7.7,"rssic":-80}]}]}"#,
    );
    let rxpk = &heard.received[0];
    assert_eq!((rxpk.rssi_dbm, rxpk.snr_db), (-80.0, 7.7));
    assert_eq!(rxpk.phy, [1, 2, 3, 4, 5]);
}

#[test]
fn numbers_as_text_and_missing_fields_are_taken() {
    let heard = push_data(
        r#"{"rxpk":[{"tmst":"42","freq":"868.1","datr":"SF9BW125","rssi":"-101","lsnr":"-7.25","data":"AQI"}]}"#,
    );
    let expected = Rxpk {
        phy: vec![1, 2],
        tmst: 42,
        frequency_hz: 868_100_000,
        data_rate: DataRate::Dr3,
        rssi_dbm: -101.0,
        snr_db: -7.25,
    };
    assert_eq!(heard.received, [expected]);
}

#[test]
fn an_unusable_frame_costs_the_others_nothing() {
    let good = json!({"tmst":1,"freq":868.1,"stat":1,"modu":"LORA","datr":"SF7BW125","rssi":-50,"lsnr":9,"data":"AQ=="});
    let with = |name: &str, value: Value| {
        let mut item = good.clone();
        item[name] = value;
        item
    };
    let without = |name: &str| {
        let mut item = good.clone();
        item.as_object_mut().unwrap().remove(name);
        item
    };
    let unusable = [
        with("tmst", json!(-1)),
        with("tmst", json!(4_294_967_296_u64)),
        with("tmst", json!(1.5)),
        with("freq", json!(-868.1)),
        with("freq", json!(1e300)),
        with("datr", json!("SF7BW500")),
        with("datr", json!("SF7")),
        with("modu", json!("FSK")),
        with("data", json!("")),
        with("data", json!("!")),
        with("data", json!("A".repeat(342))),
        with("lsnr", json!("nan")),
        without("tmst"),
        without("freq"),
        without("datr"),
        without("data"),
        without("lsnr"),
        without("rssi"),
        json!(7),
    ];
    for item in unusable {
        let heard = push_data(&json!({ "rxpk": [item, good] }).to_string());
        assert_eq!((heard.received.len(), heard.unusable), (1, 1), "{item}");
    }
    for stat in [json!(0), json!(-1), json!("-1")] {
        let heard = push_data(&json!({ "rxpk": [with("stat", stat), good] }).to_string());
        assert_eq!((heard.received.len(), heard.bad_crc), (1, 1));
    }
    assert_eq!(
        push_data(&json!({ "rxpk": [without("stat")] }).to_string())
            .received
            .len(),
        1
    );
    // The longest that the radio can carry.
    assert_eq!(
        push_data(&json!({ "rxpk": [with("data", json!("A".repeat(340)))] }).to_string())
            .received
            .len(),
        1
    );
}

#[test]
fn no_more_frames_are_taken_than_a_forwarder_can_have() {
    let item = r#"{"tmst":1,"freq":868.1,"datr":"SF7BW125","rssi":-50,"lsnr":9,"data":"AQ=="}"#;
    let items = vec![item; limits::RXPK_PER_DATAGRAM + 45].join(",");
    let heard = push_data(&format!("{{\"rxpk\":[{items}]}}"));
    assert_eq!((heard.received.len(), heard.unusable), (255, 45));
}

#[test]
fn what_is_no_datagram_of_a_forwarder_is_an_error() {
    let long = datagram(0, &" ".repeat(limits::DATAGRAM_BYTES));
    let rows: [(&[u8], DecodeError); 9] = [
        (&[], DecodeError::Length(0)),
        (&[2, 0, 0], DecodeError::Length(3)),
        (&[2, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7], DecodeError::Length(11)),
        (&long, DecodeError::Length(long.len())),
        (&[3, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8], DecodeError::Version(3)),
        (&[2, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8], DecodeError::Identifier(3)),
        (&[2, 0, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8], DecodeError::Identifier(6)),
        (&[2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], DecodeError::Json),
        (&[2, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, b'['], DecodeError::Json),
    ];
    for (bytes, error) in rows {
        assert_eq!(decode(bytes), Err(error));
    }
    let deep = "[".repeat(10_000);
    assert_eq!(decode(&datagram(0, &deep)), Err(DecodeError::Json));
}

#[test]
fn what_a_forwarder_says_of_a_frame_is_read() {
    let accepted = TxAck::Accepted { other_power: false };
    for body in [
        "",
        "{}",
        r#"{"txpk_ack":{}}"#,
        r#"{"txpk_ack":{"error":"NONE"}}"#,
        "\0",
        "{}\0",
    ] {
        assert_eq!(tx_ack(body), accepted, "{body:?}");
    }
    // PROTOCOL.md of Lora-net/sx1302_hal, section 6: both examples.
    let warning = "{\"txpk_ack\":{\n\t\"warn\":\"TX_POWER\",\n    \"value\":20\n}}";
    assert_eq!(tx_ack(warning), TxAck::Accepted { other_power: true });
    let collision = "{\"txpk_ack\":{\n\t\"error\":\"COLLISION_PACKET\"\n}}";
    let error = TxError::CollisionPacket;
    let text = "COLLISION_PACKET".to_owned();
    assert_eq!(tx_ack(collision), TxAck::Refused { error, text });
    let rows = [
        ("TOO_LATE", TxError::TooLate),
        ("TOO_EARLY", TxError::TooEarly),
        ("COLLISION_BEACON", TxError::CollisionBeacon),
        ("TX_FREQ", TxError::TxFreq),
        ("TX_POWER", TxError::TxPower),
        ("GPS_UNLOCKED", TxError::GpsUnlocked),
        ("OUT_OF_COFFEE", TxError::Unknown),
    ];
    for (text, error) in rows {
        let ack = tx_ack(&format!("{{\"txpk_ack\":{{\"error\":\"{text}\"}}}}"));
        assert_eq!(
            ack,
            TxAck::Refused {
                error,
                text: text.to_owned()
            }
        );
    }
    let long = format!("{{\"txpk_ack\":{{\"error\":\"{}\"}}}}", "X\\n".repeat(500));
    let TxAck::Refused { text, .. } = tx_ack(&long) else {
        panic!("it is no acceptance");
    };
    assert_eq!(text, "X".repeat(limits::TX_ERROR_CHARS));
}

// The headers: PROTOCOL.md, sections 3.3, 5.3 and 5.4. The values: chirpstack-gateway-bridge,
// internal/backend/semtechudp/packets/pull_resp_test.go, "delay timing - lora" and "immmediately".
#[test]
fn what_is_sent_to_a_forwarder_is_as_the_protocol_says() {
    assert_eq!(push_ack(Version::V2, Token([1, 2])), [2, 1, 2, 1]);
    assert_eq!(pull_ack(Version::V1, Token([1, 2])), [1, 1, 2, 4]);
    let mut txpk = Txpk {
        at: When::Tmst(2_000_000),
        frequency_hz: 868_100_000,
        power_dbm: 14,
        data_rate: DataRate::Dr0,
        phy: &[1, 2, 3, 4],
    };
    let written = pull_resp(Version::V2, Token([0x04, 0xd2]), &txpk);
    assert_eq!(written[..4], [2, 0x04, 0xd2, 3]);
    let expected = json!({"txpk": {"tmst": 2_000_000, "freq": 868.1, "rfch": 0, "powe": 14, "modu": "LORA",
        "datr": "SF12BW125", "codr": "4/5", "ipol": true, "size": 4, "data": "AQIDBA==", "ncrc": true}});
    assert_eq!(serde_json::from_slice::<Value>(&written[4..]).unwrap(), expected);
    txpk.at = When::Soonest;
    let written = pull_resp(Version::V2, Token([0, 0]), &txpk);
    let body: Value = serde_json::from_slice(&written[4..]).unwrap();
    assert_eq!(
        (&body["txpk"]["imme"], body["txpk"].get("tmst")),
        (&json!(true), None)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode(&bytes).ok();
    }

    #[test]
    fn any_body_is_decoded_or_refused(identifier in 0_u8..7, body in ".{0,200}") {
        decode(&datagram(identifier, &body)).ok();
    }

    #[test]
    fn any_cut_of_a_datagram_is_decoded_or_refused(length in 0..RXPK.len()) {
        let bytes = datagram(0, RXPK);
        decode(&bytes[..length]).ok();
    }

    #[test]
    fn any_change_of_a_datagram_is_decoded_or_refused(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = datagram(0, RXPK);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Datagram { content: Content::PushData(push_data), .. }) = decode(&bytes) {
            for rxpk in push_data.received {
                prop_assert!((1..=limits::PHY_BYTES).contains(&rxpk.phy.len()));
                prop_assert!(rxpk.rssi_dbm.is_finite() && rxpk.snr_db.is_finite());
            }
        }
    }

    #[test]
    fn every_frame_comes_out_as_it_went_in(phy in proptest::collection::vec(any::<u8>(), 1..256), tmst: u32, pad: bool) {
        use base64::Engine;
        let mut data = base64::engine::general_purpose::STANDARD.encode(&phy);
        if !pad {
            data = data.trim_end_matches('=').to_owned();
        }
        let item = json!({"tmst": tmst, "freq": 867.9, "datr": "SF7BW250", "rssi": -50, "lsnr": 9, "data": data});
        let heard = push_data(&json!({ "rxpk": [item] }).to_string());
        prop_assert_eq!(&heard.received[0].phy, &phy);
        prop_assert_eq!((heard.received[0].tmst, heard.received[0].frequency_hz), (tmst, 867_900_000));
    }
}
