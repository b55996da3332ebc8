//! Golden frames were made by lora-packet 0.9.3 (npm) unless another source is named.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn key(text: &str) -> Key {
    Key::new(hex(text).try_into().unwrap())
}

fn keys(nwk_s_key: &str, app_s_key: &str) -> SessionKeys {
    SessionKeys {
        nwk_s_key: key(nwk_s_key),
        app_s_key: key(app_s_key),
    }
}

fn simple_keys() -> SessionKeys {
    keys(
        "02020202020202020202020202020202",
        "01010101010101010101010101010101",
    )
}

fn data(text: &str) -> DataUplink {
    match parse(&hex(text)) {
        Ok(PhyPayload::Data(data)) => data,
        other => panic!("no data frame: {other:?}"),
    }
}

#[test]
fn an_unconfirmed_uplink_is_read() {
    let uplink = data("400403020180010001a694642615d6c3b582");
    assert_eq!(uplink.dev_addr, DevAddr(0x0102_0304));
    assert_eq!(
        (uplink.f_cnt_low, uplink.f_port, uplink.confirmed),
        (1, Some(1), false)
    );
    assert!(uplink.is_signed_with(&simple_keys().nwk_s_key, 1));
    assert!(!uplink.is_signed_with(&simple_keys().nwk_s_key, 65_537));
    assert_eq!(uplink.payload(&simple_keys(), 1), b"hello");
}

#[test]
fn a_confirmed_uplink_is_read() {
    let uplink = data("80040302010300000673070ae264d4f7e117d2c0");
    let keys = keys(
        "0102030405060708090a0b0c0d0e0f10",
        "100f0e0d0c0b0a090807060504030201",
    );
    assert!(uplink.confirmed);
    assert_eq!((uplink.f_cnt_low, uplink.f_port), (0, Some(10)));
    assert_eq!(uplink.f_opts, [0x06, 0x73, 0x07]);
    assert!(uplink.is_signed_with(&keys.nwk_s_key, 0));
    assert_eq!(uplink.payload(&keys, 0), [1, 2, 3, 4]);
}

#[test]
fn a_confirmed_downlink_is_built() {
    let downlink = DataDownlink {
        dev_addr: DevAddr(0x0102_0304),
        f_cnt: 76_543,
        confirmed: true,
        ack: false,
        f_pending: false,
        commands: Vec::new(),
        data: Some((42, b"hello lora".to_vec())),
    };
    // The same frame with the ADR bit is a0 0403 0201 80 ff2a 2a 0af1a36a05d0125f885d 881d49e1.
    let frame = downlink.encode(&simple_keys()).unwrap();
    assert_eq!(frame[..5], hex("a004030201"));
    assert_eq!(frame[6..frame.len() - 4], hex("ff2a2a0af1a36a05d0125f885d"));
}

#[test]
fn a_join_request_is_read() {
    let Ok(PhyPayload::JoinRequest(request)) = parse(&hex("0001010101010101010202020202020202030309b97b32"))
    else {
        panic!("no join-request");
    };
    assert_eq!(request.join_eui, JoinEui([1; 8]));
    assert_eq!(request.dev_eui, DevEui([2; 8]));
    assert_eq!(request.dev_nonce, 0x0303);
    assert!(request.is_signed_with(&key("0102030405060708090a0b0c0d0e0f10")));
    assert!(!request.is_signed_with(&key("0102030405060708090a0b0c0d0e0f11")));
}

/// Returns what a device makes of a join-accept: by the device side of the crate `lorawan`.
fn accepted(frame: Vec<u8>, app_key: &Key) -> parser::DecryptedJoinAcceptPayload<Vec<u8>, impl Sized> {
    parser::DecryptedJoinAcceptPayload::new(frame, &lorawan::keys::AppKey::from(app_key.bytes())).unwrap()
}

#[test]
fn a_join_accept_is_built_as_others_do() {
    // Decoded by lora-packet: JoinNonce 65793 = 0x010101, MIC 3449f212.
    let golden = hex("2023cf335489aae3183c0be0baa8dee5f3");
    let app_key = key("0102030405060708090a0b0c0d0e0f10");
    let clear = app_key.encrypt(golden[1..].try_into().unwrap());
    let accept = JoinAccept {
        join_nonce: u32::from_le_bytes([clear[0], clear[1], clear[2], 0]),
        net_id: u32::from_le_bytes([clear[3], clear[4], clear[5], 0]),
        dev_addr: DevAddr(u32::from_le_bytes([clear[6], clear[7], clear[8], clear[9]])),
        rx2_data_rate: DataRate::from_index(clear[10]).unwrap(),
        rx1_delay_secs: clear[11],
        channels_hz: Vec::new(),
    };
    assert_eq!(accept.join_nonce, 65_793);
    assert_eq!(clear[12..], hex("3449f212"));
    assert_eq!(accept.encode(&app_key), golden);
}

#[test]
fn a_join_accept_with_channels_is_understood_by_a_device() {
    let app_key = key("00112233445566778899aabbccddeeff");
    let accept = JoinAccept {
        join_nonce: 0x0001_0203,
        net_id: 0,
        dev_addr: DevAddr(0x0102_0304),
        rx2_data_rate: DataRate::Dr3,
        rx1_delay_secs: 1,
        channels_hz: super::super::region::ADDED_CHANNELS_HZ.to_vec(),
    };
    let frame = accept.encode(&app_key);
    assert_eq!(frame.len(), 33);
    let read = accepted(frame, &app_key);
    assert_eq!(read.dev_addr().as_ref(), [4, 3, 2, 1]);
    assert_eq!(read.dl_settings().rx2_data_rate(), 3);
    let Some(parser::CfList::DynamicChannel(channels)) = read.c_f_list() else {
        panic!("no list of channels");
    };
    let frequencies: Vec<u32> = channels
        .iter()
        .map(lorawan::maccommands::Frequency::value)
        .collect();
    assert_eq!(frequencies, super::super::region::ADDED_CHANNELS_HZ);
}

#[test]
fn both_sides_derive_the_same_keys() {
    // lora-packet: NwkSKey 406b1337…, AppSKey 4f5c4097… for DevNonce ccdd on the wire.
    let app_key = key("00112233445566778899aabbccddeeff");
    let golden = hex("20493eeb51fba2116f810edb3742975142");
    let clear = app_key.encrypt(golden[1..].try_into().unwrap());
    let join_nonce = u32::from_le_bytes([clear[0], clear[1], clear[2], 0]);
    let net_id = u32::from_le_bytes([clear[3], clear[4], clear[5], 0]);
    let derived = SessionKeys::derive(&app_key, join_nonce, net_id, u16::from_le_bytes([0xcc, 0xdd]));
    let golden = keys(
        "406b1337d80753820540e280f81299e9",
        "4f5c409751841b6dfecbd38402237942",
    );
    assert_eq!(derived, golden);
}

#[test]
fn a_frame_without_payload_but_with_a_port_has_a_port() {
    let mut frame = hex("4004030201000100");
    frame.push(7);
    frame.extend([0; 4]);
    match parse(&frame) {
        Ok(PhyPayload::Data(uplink)) => {
            assert_eq!(uplink.f_port, Some(7));
            assert!(uplink.payload(&simple_keys(), 1).is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn mac_commands_in_two_places_are_refused() {
    let mut frame = hex("4004030201010100");
    frame.extend([2, 0, 2]);
    frame.extend([0; 4]);
    assert_eq!(parse(&frame), Err(Malformed::TwoPlaces));
}

#[test]
fn a_payload_longer_than_any_data_rate_takes_is_not_built() {
    let mut downlink = DataDownlink {
        dev_addr: DevAddr(1),
        f_cnt: 0,
        confirmed: false,
        ack: false,
        f_pending: false,
        commands: Vec::new(),
        data: Some((1, vec![0; 242])),
    };
    assert_eq!(downlink.encode(&simple_keys()).map(|f| f.len()), Some(255));
    downlink.data = Some((1, vec![0; 243]));
    assert_eq!(downlink.encode(&simple_keys()), None);
}

fn touch(bytes: &[u8]) {
    match parse(bytes) {
        Ok(PhyPayload::Data(uplink)) => {
            assert!(uplink.payload(&simple_keys(), u32::MAX).len() < bytes.len());
            assert!(!uplink.is_signed_with(&key("ffffffffffffffffffffffffffffffff"), 0));
        }
        Ok(PhyPayload::JoinRequest(request)) => {
            assert!(!request.is_signed_with(&key("ffffffffffffffffffffffffffffffff")));
        }
        Ok(PhyPayload::Other) | Err(_) => {}
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        touch(&bytes);
    }

    #[test]
    fn a_frame_cut_or_changed_is_read_or_refused(
        which in 0..3_usize,
        cut in 0..24_usize,
        at in 0..24_usize,
        bits in any::<u8>(),
    ) {
        let mut bytes = hex([
            "400403020180010001a694642615d6c3b582",
            "80040302010300000673070ae264d4f7e117d2c0",
            "0001010101010101010202020202020202030309b97b32",
        ][which]);
        bytes.truncate(bytes.len().saturating_sub(cut));
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= bits;
        }
        touch(&bytes);
    }

    #[test]
    fn a_downlink_is_read_by_a_device(
        f_cnt in any::<u32>(),
        f_port in 1..=223_u8,
        payload in prop::collection::vec(any::<u8>(), 1..=242),
        flags in any::<[bool; 3]>(),
    ) {
        let [confirmed, ack, f_pending] = flags;
        let frame = DataDownlink {
            dev_addr: DevAddr(0x00a1_b2c3),
            f_cnt,
            confirmed,
            ack,
            f_pending,
            commands: Vec::new(),
            data: Some((f_port, payload.clone())),
        }
        .encode(&simple_keys())
        .unwrap();
        let nwk_s_key = AES128(simple_keys().nwk_s_key.bytes());
        let app_s_key = AES128(simple_keys().app_s_key.bytes());
        let read = parser::DecryptedDataPayload::new(frame, &nwk_s_key, Some(&app_s_key), f_cnt).unwrap();
        prop_assert_eq!(read.frm_payload(), FRMPayload::Data(&payload));
        prop_assert_eq!(read.f_port(), Some(f_port));
        prop_assert_eq!(read.is_confirmed(), confirmed);
        prop_assert_eq!(read.fhdr().fctrl().ack(), ack);
        prop_assert_eq!(read.fhdr().fctrl().f_pending(), f_pending);
    }
}
