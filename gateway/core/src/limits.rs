//! Every bound of the gateway, and why it is where it is.

use std::time::Duration;

/// Devices times servers. A cabinet serves dozens of devices, a lamp street a thousand; 10,000 clients in one process
/// are the most that its memory and one thread are made for.
pub const MAX_ENDPOINTS: usize = 10_000;

/// Readings that wait in memory for all servers together: about 10 MiB.
pub const MAX_QUEUED_READINGS: usize = 65_536;

/// Readings that wait for one endpoint however few there are: four hours of one value a second.
pub const MAX_QUEUED_READINGS_PER_ENDPOINT: usize = 16_384;

/// Readings in one Send: about 1 KiB in SenML CBOR, what servers of unknown make take without block-wise transfer.
pub const MAX_READINGS_PER_SEND: usize = 64;

/// Readings in one block of the buffer: enough that what each block says of itself weighs nothing, little enough that
/// reading one back takes less than 1 MiB of memory.
pub const MAX_RECORDS_PER_BLOCK: usize = 4096;

/// Commands that wait for a device, of all devices.
pub const MAX_COMMANDS: usize = 256;

/// Commands that wait for one device: a bus that takes a second for each would keep a later one waiting too long.
pub const MAX_COMMANDS_PER_DEVICE: usize = 16;

/// Values in one Write: the longest object has 66 resources.
pub const MAX_WRITES_PER_COMMAND: usize = 128;

/// How long after its answer a command still hears what became of its downlink; nobody is waiting by then, but the
/// audit log wants to know.
pub const LATE_DELIVERY: Duration = Duration::from_secs(60);

/// Seconds after which a server may try again when too many commands are open.
pub const BUSY_RETRY_SECS: u32 = 2;

/// How long changes of the object list are gathered before servers are told: a meter's first values come in several
/// frames, and one Update is enough for all of them.
pub const LISTING_SETTLES: Duration = Duration::from_millis(500);

/// The first pause after a Send that a server did not take, doubled at each further one.
pub const SEND_BACKOFF: Duration = Duration::from_secs(5);

/// The longest such pause.
pub const MAX_SEND_BACKOFF: Duration = Duration::from_secs(300);

/// Changes in one request to save: a power cut may cost all of them together, and a store takes a second or so for
/// them on slow flash.
pub const MAX_CHANGES_PER_SAVE: usize = 1_024;

/// Bytes of names and values after which a request to save takes no more changes.
pub const MAX_SAVE_BYTES: usize = 256 * 1024;

/// How long a request to save may take before the gateway goes on without it: flash that tidies up takes seconds.
pub const SAVE_ANSWER: Duration = Duration::from_secs(15);

/// The first pause after a request to save has failed, doubled at each further one.
pub const SAVE_BACKOFF: Duration = Duration::from_secs(1);

/// The longest such pause.
pub const MAX_SAVE_BACKOFF: Duration = Duration::from_secs(60);

/// Command numbers that are reserved at a time, so that hardly any command costs a write.
pub const COMMANDS_RESERVED: u64 = 1_024;

/// The highest command number that is believed: beyond it a saved number is damaged, not used up.
pub const MAX_COMMAND: u64 = 1 << 53;

/// How often the latest values of a device are saved: flash wears, and what a restart shows may be that old.
pub const VALUES_SAVED_EVERY: Duration = Duration::from_secs(15 * 60);

/// How far the command numbers go ahead where what was saved may be old: more than anybody commands in the minutes
/// between two copies.
pub const COMMANDS_JUMP: u64 = 1_000_000;

/// How many readings may wait for one endpoint where there are so many of them.
pub fn queued_readings(endpoints: usize) -> usize {
    (MAX_QUEUED_READINGS / endpoints.max(1))
        .clamp(MAX_READINGS_PER_SEND / 8, MAX_QUEUED_READINGS_PER_ENDPOINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_queues_together_stay_within_the_bound() {
        for endpoints in [0, 1, 3, 100, 1_000, MAX_ENDPOINTS] {
            let each = queued_readings(endpoints);
            assert!(each > 0 && each <= MAX_QUEUED_READINGS_PER_ENDPOINT);
            assert!(endpoints * each <= MAX_QUEUED_READINGS.max(endpoints * 8));
        }
    }
}
