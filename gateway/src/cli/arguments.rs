//! The arguments of every command.

#[cfg(feature = "demo")]
mod simulate;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use lwm2m_client::object::{Model, Version};

use super::buffer::age;
use crate::config::DEFAULT_PATH;
use crate::exit::ExitStatus;
#[cfg(feature = "demo")]
pub use simulate::{PeerOptions, SimulateOptions, SimulatedPeer};

/// The street-cabinet gateway: field buses and radios in, LwM2M and uCIFI out.
#[derive(Debug, Parser)]
#[command(name = "ucifi-gateway", version, after_help = ExitStatus::help(), disable_help_subcommand = true)]
pub struct Arguments {
    /// The configuration file; conf.d, devices.d, profiles.d and objects.d are looked for beside it
    #[arg(long, global = true, env = "UCIFI_CONFIG", default_value = DEFAULT_PATH, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// What is logged to standard error: error, warn, info, debug or trace, also by module; info for the
    /// daemon without it
    #[arg(long, global = true, env = "UCIFI_LOG", value_name = "FILTER")]
    pub(super) log: Option<String>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway in the foreground; SIGTERM stops it, SIGHUP reads the configuration again
    Run,
    /// Say everything that is wrong with the configuration, or what it means
    Check(JsonOptions),
    /// Show how the running gateway, its servers and its buses are
    Status(ClientOptions),
    /// Show the devices of the running gateway, or those that were heard and are not configured
    Devices(DevicesOptions),
    /// Watch what becomes of the frames and commands of a device, until it is interrupted
    ///
    /// Each frame with what it says, what is sent to each server of it and acknowledged, each command with what became
    /// of it.
    Trace(TraceOptions),
    /// Show the values of a device
    Read(ReadOptions),
    /// Set a value of a device, and wait for what becomes of it
    Write(WriteOptions),
    /// Run a resource of a device, and wait for what becomes of it
    Exec(ExecOptions),
    /// End the registration of one device, or of all
    Deregister(DeregisterOptions),
    /// Show, export or drop the readings that servers have not taken yet, as far as they are on disk
    Buffer(BufferOptions),
    /// Write a first configuration of what this machine has: serial ports, a broker, its name
    ///
    /// A file that is there already stays as it is.
    Init(InitOptions),
    /// Say whether the machine and its surroundings are up to the configuration, and what to do where they are not
    ///
    /// It looks at serial ports, clock, disk, names, servers, brokers and the port for packet forwarders, and changes
    /// nothing. It fails where something has to be mended.
    Doctor(ClientOptions),
    /// Devices in devices.d, one file each
    #[command(subcommand)]
    Device(Box<DeviceCommand>),
    /// Device profiles: which there are, and whether one is right
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// LwM2M objects: which there are, and what is in them
    #[command(subcommand)]
    Objects(ObjectsCommand),
    /// Print what completes the commands in a shell, as in `ucifi-gateway completions bash >
    /// /etc/bash_completion.d/ucifi-gateway`
    Completions {
        /// The shell
        shell: CompletionShell,
    },
    /// Show the gateway at work between simulated devices and a simulated server
    #[cfg(feature = "demo")]
    Demo(DemoOptions),
    /// Play a device of a profile, a server or a broker, for trying a configuration without the hardware
    ///
    /// A device says what the golden frames of its profile say. It prints how it is configured: first the block of its
    /// link, then the command that adds the device. It goes on until it is interrupted.
    #[cfg(feature = "demo")]
    Simulate(SimulateOptions),
}

/// The shells that commands can be completed in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub(super) struct InitOptions {
    /// The name of the cabinet; by default that of the machine
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The LwM2M server, as in coap://lwm2m.example.org
    #[arg(long, value_name = "URI")]
    pub(super) server: Option<String>,
    /// A serial port or tcp://host:port of a bus; by default every serial port that is found
    #[arg(long, value_name = "PORT")]
    pub(super) port: Vec<PathBuf>,
    /// The MQTT broker; by default the one on this machine, if there is one
    #[arg(long, value_name = "URI")]
    pub(super) broker: Option<String>,
    /// Listen for LoRaWAN packet forwarders, by default on 127.0.0.1:1700
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:1700")]
    pub(super) lorawan: Option<String>,
    /// Let servers and people switch and set devices on all links; without it they may only read
    #[arg(long)]
    pub(super) allow_writes: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// Add a device: the whole configuration is checked, then a file of its own is written
    Add(AddOptions),
    /// Put another device in the place of one: it keeps its id and its endpoint name
    Replace(ReplaceOptions),
    /// Take a device out of the configuration
    Remove {
        /// The id of the device
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddOptions {
    /// The id of the device
    pub(super) id: String,
    /// What kind it is: see `ucifi-gateway profile list`
    #[arg(long)]
    pub(super) profile: String,
    #[command(flatten)]
    pub(super) fields: DeviceFields,
}

#[derive(Debug, Args)]
pub(super) struct ReplaceOptions {
    /// The id of the device
    pub(super) id: String,
    #[command(flatten)]
    pub(super) fields: DeviceFields,
}

/// The options of a device, as in the configuration.
#[derive(Args)]
pub(super) struct DeviceFields {
    /// The bus of a Modbus device
    #[arg(long)]
    pub(super) bus: Option<String>,
    /// Its unit address
    #[arg(long)]
    pub(super) unit: Option<u8>,
    /// The broker of an MQTT device
    #[arg(long)]
    pub(super) broker: Option<String>,
    /// What stands for it in its topics
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// The DevEUI of a LoRaWAN device
    #[arg(long, value_name = "EUI")]
    pub(super) dev_eui: Option<String>,
    /// Its JoinEUI (AppEUI)
    #[arg(long, value_name = "EUI")]
    pub(super) join_eui: Option<String>,
    /// Its AppKey, which gets a file of its own; - reads it from standard input, where no list of processes shows it
    #[arg(long, value_name = "HEX", conflicts_with = "app_key_file")]
    pub(super) app_key: Option<String>,
    /// The file or credential that has its AppKey
    #[arg(long, value_name = "FILE")]
    pub(super) app_key_file: Option<String>,
    /// Its DevAddr, where its session was written into it
    #[arg(long, value_name = "ADDR")]
    pub(super) dev_addr: Option<String>,
    /// The file or credential that has its NwkSKey
    #[arg(long, value_name = "FILE")]
    pub(super) nwk_s_key_file: Option<String>,
    /// The file or credential that has its AppSKey
    #[arg(long, value_name = "FILE")]
    pub(super) app_s_key_file: Option<String>,
    /// What people call it
    #[arg(long)]
    pub(super) label: Option<String>,
    /// Its serial number
    #[arg(long)]
    pub(super) serial: Option<String>,
    /// Its endpoint name, where it is not to be the usual one
    #[arg(long)]
    pub(super) endpoint: Option<String>,
}

/// Not a word of the key.
impl std::fmt::Debug for DeviceFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceFields").finish_non_exhaustive()
    }
}

#[derive(Debug, Args)]
pub(super) struct JsonOptions {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ClientOptions {
    /// The control socket of the gateway; by default the one that the configuration names
    #[arg(long, env = "UCIFI_SOCKET", value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DevicesOptions {
    /// Show the devices that were heard and are not configured: LoRaWAN joins and addresses, MQTT topics
    #[arg(long)]
    pub(super) unknown: bool,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(super) struct TraceOptions {
    /// The id of the device
    pub(super) device: String,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    pub(super) lines: Option<u64>,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(super) struct ReadOptions {
    /// The id of the device
    pub(super) device: String,
    /// A path such as /3421/0 or /3421/0/1, or the name of a point; all values without it
    #[arg(value_name = "PATH|POINT")]
    pub(super) target: Option<String>,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(super) struct WriteOptions {
    /// The id of the device
    pub(super) device: String,
    /// The path of a resource such as /3416/0/1, or the name of a point
    #[arg(value_name = "PATH|POINT")]
    pub(super) target: String,
    /// The value: true, false or 1, 0 for a Boolean, hex digits for an Opaque
    #[arg(allow_negative_numbers = true)]
    pub(super) value: String,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(super) struct ExecOptions {
    /// The id of the device
    pub(super) device: String,
    /// The path of a resource such as /3418/0/7
    pub(super) path: String,
    /// The arguments as LwM2M writes them, such as 0='U'
    #[arg(default_value = "")]
    pub(super) arguments: String,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(super) struct DeregisterOptions {
    /// The id of the device; all devices without it
    pub(super) device: Option<String>,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

#[derive(Debug, Args)]
pub(super) struct BufferOptions {
    #[command(subcommand)]
    pub(super) command: Option<BufferCommand>,
    #[command(flatten)]
    pub(super) show: JsonOptions,
}

#[derive(Debug, Subcommand)]
pub(super) enum BufferCommand {
    /// Show how many readings wait on disk for each server and device, and since when; the usual
    ///
    /// What a running gateway has only in memory is in `status`.
    Show(JsonOptions),
    /// Write the readings to standard output
    ///
    /// They come server by server, device by device and class by class, each from the oldest on. A reading that is owed
    /// to two servers comes once for each: name one with --server. A reading whose time is not known yet has none. Values
    /// are in the newest object version and the registry's units.
    Export(ExportOptions),
    /// Forget old readings for good: no server will get them
    ///
    /// A running gateway is asked to do it; where none runs it is done in the state folder itself. A reading that is owed
    /// to two servers counts twice.
    Drop(DropOptions),
}

#[derive(Debug, Args)]
pub(super) struct ExportOptions {
    #[command(flatten)]
    pub(super) format: ExportFormat,
    /// Only what is owed to this server
    #[arg(long, value_name = "NAME")]
    pub(super) server: Option<String>,
    /// Only readings of this device
    #[arg(long, value_name = "ID")]
    pub(super) device: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct ExportFormat {
    /// As CSV with a heading, times in UTC
    #[arg(long)]
    pub(super) csv: bool,
    /// As one SenML pack in JSON, the endpoint as base name
    #[arg(long)]
    pub(super) senml: bool,
}

#[derive(Debug, Args)]
pub(super) struct DropOptions {
    /// How old: 7d, 12h, 30m or 1d 12h, a day being 24 hours
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) older_than: Duration,
    /// Only what is owed to this server; all servers without it
    #[arg(long, value_name = "NAME")]
    pub(super) server: Option<String>,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

#[derive(Debug, Subcommand)]
pub(super) enum ProfileCommand {
    /// List the profiles that are known
    List(JsonOptions),
    /// Say everything that is wrong with profile files, with line and column
    Check {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        options: JsonOptions,
    },
    /// Run the golden frames of profile files, or of every known profile
    Test {
        /// The files
        files: Vec<PathBuf>,
        #[command(flatten)]
        options: JsonOptions,
    },
    /// Show what a profile reads and what it takes
    Show {
        /// The id of the profile
        profile: String,
        #[command(flatten)]
        options: JsonOptions,
    },
    /// Decode what a device said: a Modbus RTU exchange, a LoRaWAN payload, an MQTT message
    Decode(DecodeOptions),
}

#[derive(Debug, Args)]
pub(super) struct DecodeOptions {
    /// The id of the profile
    pub(super) profile: String,
    /// The port of a LoRaWAN payload
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=223))]
    pub(super) port: Option<u8>,
    /// The topic of an MQTT message, as it was published
    #[arg(long, conflicts_with = "port")]
    pub(super) topic: Option<String>,
    /// Of Modbus, the request and then the response, as hex with checksums; of LoRaWAN, the decrypted payload as hex; of
    /// MQTT, the payload as text. Several arguments are joined
    #[arg(required = true)]
    pub(super) content: Vec<String>,
    #[command(flatten)]
    pub(super) options: JsonOptions,
}

#[derive(Debug, Subcommand)]
pub(super) enum ObjectsCommand {
    /// List every object with its versions
    List(JsonOptions),
    /// Find objects and resources by name or number
    Find {
        /// A part of a name, or a number
        text: String,
        #[command(flatten)]
        options: JsonOptions,
    },
    /// Show one object
    Show {
        /// The number of the object
        id: u16,
        /// The version, the newest without it
        #[arg(long)]
        version: Option<Version>,
        #[command(flatten)]
        options: JsonOptions,
    },
    /// Write OMA XML files for a server's model folder
    Export {
        /// The folder, made if it is missing
        dir: PathBuf,
        /// Which versions: 2020, 2023 or 2026
        #[arg(long)]
        model: Model,
    },
}
/// What the demo does.
#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// How long it runs
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub(crate) seconds: u64,
    /// Print JSON, one object a line; the last one has the totals
    #[arg(long)]
    pub(crate) json: bool,
    /// Register at this server instead of the simulated one, which is also the one that goes away for a while
    #[arg(long, value_name = "URI")]
    pub(crate) server: Option<String>,
    /// Go on after the closing table until it is interrupted
    #[arg(long)]
    pub(crate) keep: bool,
}
