//! `simulate`: a device of a profile for a gateway that runs beside it, where there is no hardware to try with; also a
//! server and a broker.
//!
//! It says what the golden frames of the profile say; where a gadget of that kind is in `ucifi-sim`, that one plays it,
//! and does what it is told. It knows the gateway only by the link between them. Nothing here is used by the daemon.

mod key;
mod modbus;
mod mqtt;
mod peer;
mod radio;
mod registers;
mod report;

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use ucifi_core::Profile;
use ucifi_profiles::CompiledProfile;

use crate::cli::SimulateOptions;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupt;
use report::Report;

/// What a profile says of the link of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Modbus,
    Mqtt,
    LoRaWan,
}

impl Protocol {
    fn of(profile: &CompiledProfile) -> Self {
        if profile.register_reads().is_some() {
            Self::Modbus
        } else if profile.lorawan().is_some() {
            Self::LoRaWan
        } else {
            Self::Mqtt
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Modbus => "Modbus",
            Self::Mqtt => "MQTT",
            Self::LoRaWan => "LoRaWAN",
        }
    }
}

/// Plays a device until it is interrupted.
///
/// # Errors
/// When the profile is not known, an option does not fit it, or the link cannot be made.
pub(crate) fn simulate(config: &Path, options: &SimulateOptions, log: &str) -> Result<(), Failure> {
    crate::logging::start(log)?;
    let runtime = Runtime::new().map_err(|error| Failure::cannot("start", &error))?;
    let ended = runtime.block_on(async {
        let mut interrupt = Interrupt::catch()?;
        match (&options.peer, &options.profile) {
            (Some(peer), _) => peer::play(peer, &mut interrupt).await,
            (None, Some(profile)) => device(config, profile, options, &mut interrupt).await,
            (None, None) => Err(Failure::new(
                ExitStatus::Usage,
                "name a profile, server or broker",
            )),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn device(
    config: &Path,
    name: &str,
    options: &SimulateOptions,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let profile = crate::cli::profile_of(config, name)?;
    let protocol = Protocol::of(&profile);
    if let Some(wrong) = options.foreign_to(protocol) {
        let message = format!(
            "{} speaks {}, which has no {wrong}: see `ucifi-gateway simulate --help`",
            profile.id(),
            protocol.name()
        );
        return Err(Failure::new(ExitStatus::Usage, message));
    }
    let report = Report::new(options.json, hint(&profile, name));
    match protocol {
        Protocol::Modbus => modbus::play(&profile, options, &report, interrupt).await,
        Protocol::Mqtt => mqtt::play(&profile, options, &report, interrupt).await,
        Protocol::LoRaWan => radio::play(&profile, options, &report, interrupt).await,
    }
}

/// A gateway knows a profile by its id, and a file only where it looks for it.
fn hint(profile: &CompiledProfile, name: &str) -> Option<String> {
    let is_known = name == profile.id() || profile.aliases().iter().any(|alias| **alias == *name);
    (!is_known)
        .then(|| format!("the gateway finds the profile when {name} is in profiles.d beside gateway.toml"))
}

impl SimulateOptions {
    /// Returns an option that was given and is none of this protocol.
    fn foreign_to(&self, protocol: Protocol) -> Option<&'static str> {
        use Protocol::{LoRaWan, Modbus, Mqtt};
        let given: [(&[Protocol], _, _); 11] = [
            (&[Modbus], "--unit", self.unit.is_some()),
            (&[Modbus], "--baud", self.baud.is_some()),
            (&[Modbus], "--link", self.link.is_some()),
            (&[Mqtt], "--broker", self.broker.is_some()),
            (&[Mqtt], "--device", self.device.is_some()),
            (&[LoRaWan], "--gateway", self.gateway.is_some()),
            (&[LoRaWan], "--forwarder-eui", self.forwarder_eui.is_some()),
            (&[LoRaWan], "--dev-eui", self.dev_eui.is_some()),
            (&[LoRaWan], "--join-eui", self.join_eui.is_some()),
            (&[LoRaWan], "--app-key-file", self.app_key_file.is_some()),
            (&[Mqtt, LoRaWan], "--every", self.every.is_some()),
        ];
        let wrong = given
            .into_iter()
            .find(|(of, _, is_given)| *is_given && !of.contains(&protocol));
        wrong.map(|(_, name, _)| name)
    }
}
