//! A LoRaWAN device in the air, and the packet forwarder that hears it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lwm2m_client::Timestamp;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::mpsc;
use ucifi_core::Profile;
use ucifi_core::field::{DevEui, DeviceClass, Frame};
use ucifi_profiles::CompiledProfile;
use ucifi_sim::radio::gadgets::{Deed, Gadget, Luminaire, Message, News, StreetPlan, WaterMeter};
use ucifi_sim::radio::{Forwarder, NodeConfig, SendOutcome};

use super::key::app_key;
use super::report::{Report, Setup};
use crate::cli::SimulateOptions;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupt;
use crate::limits::SIMULATED_NEWS;

/// Where the gateway listens unless configured.
const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1700);

/// EUIs that no maker has: the bit for local administration is set.
const FORWARDER_EUI: [u8; 8] = [0xAA, 0x55, 0x5A, 0, 0, 0, 1, 1];
const DEV_EUI: [u8; 8] = [0x02, 0, 0, 0, 0, 0, 0, 1];

/// The shortest time between two reports: a report, its windows and an answer have to fit.
const SHORTEST: Duration = Duration::from_secs(5);

pub(super) async fn play(
    profile: &Arc<CompiledProfile>,
    options: &SimulateOptions,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let traits = profile.lorawan().expect("only LoRaWAN profiles are in the air");
    let usual = Duration::from_secs(traits.uplink_every_secs.into());
    let every = options.every.map_or(usual, Duration::from_secs).max(SHORTEST);
    let gateway = options.gateway.unwrap_or(GATEWAY);
    let dev_eui = options.dev_eui.unwrap_or(DEV_EUI);
    let file = options.app_key_file.clone();
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{}.key", DevEui(dev_eui))));
    let is_class_c = traits.class == DeviceClass::C;
    let node = NodeConfig {
        dev_eui,
        join_eui: options.join_eui.unwrap_or_default(),
        app_key: app_key(&file)?,
        is_class_c,
        data_rate: 5,
        // DR0 is SF12, each step is one less.
        rx2_spreading_factor: traits.rx2_data_rate.map(|rate| 12 - u32::from(rate.min(5))),
    };
    report.begin(&setup(profile, &node, (gateway, every), &file))?;
    if options
        .every
        .is_some_and(|secs| Duration::from_secs(secs) < SHORTEST)
    {
        report.say(
            "note",
            &format!("it reports every {} s at most", SHORTEST.as_secs()),
        )?;
    }
    let (news, inbox) = mpsc::channel(SIMULATED_NEWS);
    let seed = OsRng
        .try_next_u64()
        .map_err(|error| Failure::cannot("get random numbers", &error))?;
    let plan = StreetPlan::new(seed, every).watched_by(news);
    let plan = match profile.id() {
        "nas.ul20xx" => plan.with(node, Luminaire::new(100)),
        "axioma.w1" => plan.with(node, WaterMeter::new(13_600, 9)),
        _ => {
            if profile.command_paths().next().is_some() {
                let text =
                    "commands are shown and not answered: what they do in such a device is not known here";
                report.say("note", text)?;
            }
            plan.with(node, Golden::new(profile)?)
        }
    };
    let forwarder_eui = options.forwarder_eui.unwrap_or(FORWARDER_EUI);
    let forwarder = Forwarder::new(forwarder_eui, 0, 0, Instant::now());
    let street = plan.start(forwarder, gateway).await;
    let _street = street.map_err(|error| Failure::cannot("start a packet forwarder", &error))?;
    attend(inbox, gateway, report, interrupt).await
}

fn setup(
    profile: &CompiledProfile,
    node: &NodeConfig,
    (gateway, every): (SocketAddr, Duration),
    file: &Path,
) -> Setup {
    let writes = if profile.command_paths().next().is_some() {
        "allow"
    } else {
        "deny"
    };
    let (dev_eui, join_eui) = (DevEui(node.dev_eui), DevEui(node.join_eui));
    let class = if node.is_class_c { "C" } else { "A" };
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    Setup {
        what: format!(
            "{} with DevEUI {dev_eui}, class {class}, is heard by a packet forwarder that sends to {gateway}, and speaks \
             every {} s",
            profile.id(),
            every.as_secs()
        ),
        link: format!("[lorawan]\nregion = \"EU868\"\nlisten = \"{gateway}\"\nwrites = \"{writes}\"\n"),
        device: vec![
            ("dev_eui", dev_eui.to_string().into()),
            ("join_eui", join_eui.to_string().into()),
            ("app_key_file", file.display().to_string().into()),
        ],
        id: "lorawan-1",
        profile: profile.id().to_owned(),
    }
}

async fn attend(
    mut inbox: mpsc::Receiver<News>,
    gateway: SocketAddr,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    loop {
        let news = tokio::select! {
            () = interrupt.comes() => break,
            news = inbox.recv() => news,
        };
        let Some(News { deed, .. }) = news else {
            return Err(Failure::new(ExitStatus::Failed, "the device has stopped"));
        };
        if let Some((step, text)) = told(&deed, gateway) {
            report.say(step, &text)?;
        }
    }
    report.say("ended", "it falls silent; the next time it joins anew")
}

/// Says in words what happened; none where there is nothing to say.
fn told(deed: &Deed, gateway: SocketAddr) -> Option<(&'static str, String)> {
    Some(match deed {
        Deed::Joins => ("asked", "to join".to_owned()),
        Deed::Joined => ("joined", "it has a session".to_owned()),
        Deed::Unheard => (
            "away",
            format!(
                "no answer to the join-request: see whether the gateway runs with [lorawan] at {gateway} and has the \
                 device with this key; it is tried again"
            ),
        ),
        Deed::Sends(message) => ("sent", shown(message.f_port, &message.payload)),
        Deed::Sent(SendOutcome::NoAck) => ("away", "no acknowledgement from the gateway".to_owned()),
        Deed::Sent(SendOutcome::NoSession) => ("away", "the session has ended".to_owned()),
        Deed::Sent(SendOutcome::Answered | SendOutcome::Quiet) => return None,
        Deed::Told {
            f_port,
            payload,
            level,
        } => {
            let now = level.map(|level| format!(": the lamp is at {level} %"));
            ("told", shown(*f_port, payload) + &now.unwrap_or_default())
        }
    })
}

fn shown(f_port: u8, payload: &[u8]) -> String {
    let digits: String = payload.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("port {f_port} {digits}")
}

/// A device that says what the golden frames of its profile say, in turn.
struct Golden {
    profile: Arc<CompiledProfile>,
    frames: Vec<Frame>,
    round: usize,
}

impl Golden {
    fn new(profile: &Arc<CompiledProfile>) -> Result<Self, Failure> {
        let frames = profile.golden_frames();
        if frames.is_empty() {
            let message = format!(
                "{} has no golden frame that a device could send: add one to the profile",
                profile.id()
            );
            return Err(Failure::new(ExitStatus::Invalid, message));
        }
        Ok(Self {
            profile: profile.clone(),
            frames,
            round: 0,
        })
    }
}

impl Gadget for Golden {
    fn report(&mut self, unix_secs: u32) -> Message {
        let frame = self.frames.get(self.round % self.frames.len());
        self.round += 1;
        let measured = Timestamp::from_unix_ms(i64::from(unix_secs) * 1_000);
        let (f_port, payload) = match frame.map(|frame| self.profile.dated(frame, measured)) {
            Some(Frame::LoRaWanData(data)) => (data.f_port, data.payload),
            Some(_) | None => unreachable!("golden frames of a LoRaWAN profile are payloads"),
        };
        Message {
            f_port,
            payload,
            is_confirmed: false,
        }
    }

    fn told(&mut self, _f_port: u8, _payload: &[u8]) -> Option<Message> {
        None
    }
}

#[cfg(test)]
mod tests {
    use lwm2m_client::object::ObjectTable;
    use ucifi_core::field::LoRaWanData;
    use ucifi_profiles::Catalogue;

    use super::*;

    const NOW: u32 = 1_800_000_000;

    #[test]
    fn whatever_a_device_of_a_stock_profile_sends_the_profile_understands_as_of_now() {
        let catalogue = Catalogue::stock(&ObjectTable::builtin());
        let all = catalogue.profiles().filter(|profile| profile.lorawan().is_some());
        for profile in all {
            let mut golden = Golden::new(profile).unwrap();
            for _ in 0..golden.frames.len() {
                let Message { f_port, payload, .. } = golden.report(NOW);
                let meaning = profile.decode(&Frame::LoRaWanData(LoRaWanData { f_port, payload }));
                let last = meaning.unwrap().samples.pop().unwrap();
                let now = Timestamp::from_unix_ms(i64::from(NOW) * 1_000);
                assert!(last.measured.is_none_or(|measured| measured == now), "{last:?}");
            }
        }
    }

    #[test]
    fn what_happens_is_told_in_a_line_and_what_is_missing_with_what_to_look_at() {
        let told = |deed| told(&deed, GATEWAY).unwrap();
        let (step, text) = told(Deed::Unheard);
        assert!(
            step == "away" && text.contains("[lorawan] at 127.0.0.1:1700"),
            "{text}"
        );
        let dimmed = Deed::Told {
            f_port: 60,
            payload: vec![1, 0xFE, 30],
            level: Some(30),
        };
        assert_eq!(
            told(dimmed),
            ("told", "port 60 01FE1E: the lamp is at 30 %".to_owned())
        );
    }
}
