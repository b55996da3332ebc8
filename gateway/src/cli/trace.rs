//! `trace`: what becomes of the frames and commands of a device, line by line, as it happens.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::arguments::TraceOptions;
use super::control::socket;
use super::output::print;
use crate::control::{Reply, Request, Watched};
use crate::exit::{ExitStatus, Failure};

pub(super) fn trace(config: &Path, options: &TraceOptions) -> Result<(), Failure> {
    let request = Request::Trace {
        device: options.device.clone(),
    };
    let no_gateway = |reason: String| Failure::new(ExitStatus::NoGateway, reason);
    let (reply, mut watched) =
        Watched::begin(&socket(config, &options.client), &request).map_err(|e| no_gateway(e.to_string()))?;
    if let Reply::Error(problem) = reply {
        return Err(problem.into());
    }
    for _ in 0..options.lines.unwrap_or(u64::MAX) {
        let line = watched.line().map_err(|e| no_gateway(e.to_string()))?;
        if line.is_empty() {
            return Err(no_gateway(
                "the gateway stopped or took another configuration".to_owned(),
            ));
        }
        if options.client.json {
            print(&line)?;
        } else if let Ok(told) = serde_json::from_str::<Json>(&line) {
            print(&text(&told))?;
        }
    }
    Ok(())
}

fn text(told: &Json) -> String {
    let part = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    format!(
        "{}  {:<12}  {}\n",
        time(told["time_ms"].as_i64()),
        part("step"),
        part("text")
    )
}

/// The time of day in UTC; a gateway that does not know it has none.
fn time(unix_ms: Option<i64>) -> String {
    let at = unix_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "--:--:--.---".to_owned(),
        |at| at.strftime("%H:%M:%S.%3f").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_has_a_time_a_step_and_a_text() {
        let told = json!({ "time_ms": null, "step": "frame", "text": "port 10" });
        assert_eq!(text(&told), "--:--:--.---  frame         port 10\n");
        assert_eq!(time(Some(1_700_000_000_123)), "22:13:20.123");
    }
}
