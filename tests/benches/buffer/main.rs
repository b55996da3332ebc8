//! What the buffer costs and how fast it is.
//!
//! `outage`: meters, core, log and server from end to end in simulated time: what is written while the server is there
//! and while it is away, and how fast the buffer drains when it is back.
//! `log`: the log alone in a folder, `UCIFI_BUFFER_DIR` or a temporary one: filling, draining, recovering.
//!
//! Bytes, syncs and simulated times are the same on every machine; rates and processor times are not.

mod cabinet;
mod counted;
mod log;
mod meters;
mod outage;

fn main() -> anyhow::Result<()> {
    let wanted = |name: &str| {
        let mut names = std::env::args()
            .skip(1)
            .filter(|argument| !argument.starts_with('-'))
            .peekable();
        names.peek().is_none() || names.any(|argument| argument == name)
    };
    if wanted("outage") {
        outage::run();
    }
    if wanted("log") {
        log::run()?;
    }
    Ok(())
}
