//! A Leshan server that goes away while ten meters report every second, and a gateway that is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde_json::json;

use crate::street::{PATHS, Served, Street, UNITS};

/// What a power cut may cost: hold_ms for measurements, nothing for what is billed while the server is away, and
/// commit_ms for both; the disk takes its time on top.
const MAY_COST_MS: [(&str, i64); 2] = [(PATHS[0], 6_000 + DISK_MS), (PATHS[1], 1_000 + DISK_MS)];
const DISK_MS: i64 = 1_000;

/// What a unit was asked just before the gateway was killed it answers within.
const ANSWERS_WITHIN_MS: i64 = 100;

/// A meter notes its answer; the gateway takes the reading a moment later.
const TIMES_AGREE_WITHIN_MS: i64 = 1_000;

/// What came of a run.
#[derive(Debug, Default)]
struct Account {
    produced: usize,
    arrived: usize,
    duplicates: usize,
    lost: usize,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Returns what the gateway took of each meter: the answers from the first one that arrived on up to a moment. What
/// was answered while no gateway ran was asked by none.
fn produced(street: &mut Street, until_ms: i64) -> anyhow::Result<BTreeMap<u8, Served>> {
    let mut all = BTreeMap::new();
    for unit in UNITS {
        let first = street
            .arrivals(unit, PATHS[0])
            .keys()
            .next()
            .copied()
            .unwrap_or(1);
        let mut served = street.served(unit)?;
        served.retain(|number, at| *number >= first && *at <= until_ms);
        all.insert(unit, served);
    }
    Ok(all)
}

/// Says whether a kill may have cost what was answered at a time. A unit may still answer what the dead had asked.
fn is_excused(at: i64, killed_at: Option<i64>, may_cost_ms: i64) -> bool {
    killed_at.is_some_and(|killed_at| (killed_at - may_cost_ms..=killed_at + ANSWERS_WITHIN_MS).contains(&at))
}

/// Returns what has not arrived of all that was answered by `until_ms`, but for what a kill may have cost: the unit,
/// the path, the number and when it was answered.
fn missing(
    street: &mut Street,
    until_ms: i64,
    killed_at: Option<i64>,
) -> anyhow::Result<Vec<(u8, &'static str, u64, i64)>> {
    let mut missing = Vec::new();
    for (unit, served) in produced(street, until_ms)? {
        for (path, may_cost_ms) in MAY_COST_MS {
            let arrived = street.arrivals(unit, path);
            let is_missing = |(number, at): &(&u64, &i64)| {
                !arrived.contains_key(number) && !is_excused(**at, killed_at, may_cost_ms)
            };
            let of_path = served.iter().filter(is_missing);
            missing.extend(of_path.map(|(number, at)| (unit, path, *number, *at)));
        }
    }
    Ok(missing)
}

/// Compares what was answered with what arrived: each number once, at its own time, none that no meter ever said.
fn settle(street: &mut Street, until_ms: i64, killed_at: Option<i64>) -> anyhow::Result<Account> {
    let mut account = Account::default();
    for (unit, served) in produced(street, until_ms)? {
        let all = street.served(unit)?;
        for (path, may_cost) in MAY_COST_MS {
            let arrived = street.arrivals(unit, path);
            for (number, times) in &arrived {
                let at = all.get(number);
                assert!(at.is_some(), "meter {unit} never said {number}");
                let times: BTreeSet<i64> = times.iter().copied().collect();
                let own = |time: &i64| (time - at.unwrap_or(&0)).abs() <= TIMES_AGREE_WITHIN_MS;
                assert!(
                    times.len() == 1 && times.iter().all(own),
                    "meter {unit} answered {number} at {at:?}, {path} arrived with {times:?}"
                );
            }
            for (number, at) in &served {
                account.produced += 1;
                match arrived.get(number) {
                    Some(times) => {
                        account.arrived += 1;
                        account.duplicates += times.len() - 1;
                    }
                    None => {
                        assert!(
                            is_excused(*at, killed_at, may_cost),
                            "{number} of meter {unit}, {path}, answered at {at}, is lost"
                        );
                        account.lost += 1;
                    }
                }
            }
        }
    }
    Ok(account)
}

/// Waits until every meter has delivered live.
fn warm_up(street: &mut Street) -> anyhow::Result<()> {
    street.until("first readings", Duration::from_secs(90), |street| {
        Ok(UNITS
            .into_iter()
            .all(|unit| PATHS.iter().all(|path| street.arrivals(unit, path).len() >= 3)))
    })
}

fn wait_for_all(street: &mut Street, killed_at: Option<i64>) -> anyhow::Result<Account> {
    street.read_times(5)?;
    let until_ms = now_ms();
    let mut left = Vec::new();
    let arrival = street.until("all readings arrived", Duration::from_secs(400), |street| {
        left = missing(street, until_ms, killed_at)?;
        Ok(left.is_empty())
    });
    arrival.with_context(|| format!("killed at {killed_at:?}, missing are {left:?}"))?;
    settle(street, until_ms, killed_at)
}

#[test]
fn a_server_that_was_away_for_a_minute_gets_every_reading_with_its_own_time() -> anyhow::Result<()> {
    let mut street = Street::start()?;
    warm_up(&mut street)?;
    street.stop_server();
    street.read_times(60)?;
    street.start_server()?;
    let account = wait_for_all(&mut street, None)?;
    eprintln!("60 s without the server: {account:?}");
    assert!(account.produced >= 10 * 2 * 60, "{account:?}");
    assert_eq!(account.lost, 0);
    Ok(())
}

#[test]
fn a_gateway_that_is_killed_in_the_outage_delivers_all_but_what_it_had_just_taken() -> anyhow::Result<()> {
    let mut street = Street::start()?;
    warm_up(&mut street)?;
    street.stop_server();
    street.read_times(30)?;
    street.kill_gateway()?;
    let killed_at = now_ms();
    street.start_gateway()?;
    street.read_times(30)?;
    street.start_server()?;
    let account = wait_for_all(&mut street, Some(killed_at))?;
    eprintln!("60 s without the server, the gateway killed after 30 s: {account:?}");
    assert!(account.produced >= 10 * 2 * 55, "{account:?}");
    Ok(())
}

/// Returns the ports from which all endpoints are registered.
fn ports(street: &mut Street) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut ports = BTreeMap::new();
    for unit in UNITS {
        let endpoint = Street::endpoint(unit);
        let registration = street.ask(&endpoint, json!({"op": "registration"}))?;
        ports.insert(endpoint, registration["port"].as_u64().unwrap_or_default());
    }
    Ok(ports)
}

/// Ends the gateway in some way and starts it again: the server must see the same clients go on.
fn goes_on_after(end: impl Fn(&mut Street) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut street = Street::start()?;
    warm_up(&mut street)?;
    let observed = Street::endpoint(11);
    let observe = json!({"op": "observe", "path": "/3418/0/4", "format": "SENML_CBOR"});
    assert_eq!(street.ask(&observed, observe)?["status"], 205);
    let (ports_before, heard) = (ports(&mut street)?, street.events(0).len());
    let before = street.wire.take();
    end(&mut street)?;
    street.start_gateway()?;
    let of = |street: &Street, event: &str, endpoint: &str| {
        let events = street.events(heard).iter();
        events
            .filter(|line| line["event"] == event && line["endpoint"] == endpoint)
            .count()
    };
    street.until("an update of every endpoint", Duration::from_secs(60), |street| {
        Ok(UNITS
            .into_iter()
            .all(|unit| of(street, "updated", &Street::endpoint(unit)) > 0))
    })?;
    let notified = of(&street, "notification", &observed);
    street.until("the observation goes on", Duration::from_secs(60), |street| {
        Ok(of(street, "notification", &observed) >= notified + 3)
    })?;
    for unit in UNITS {
        assert_eq!(
            of(&street, "registered", &Street::endpoint(unit)),
            0,
            "{unit} registered again"
        );
    }
    assert_eq!(ports(&mut street)?, ports_before);
    let used: BTreeSet<(u16, u16)> = before.iter().map(|sent| (sent.port, sent.message_id)).collect();
    let after = street.wire.take();
    assert!(
        !used.is_empty() && after.len() > 20,
        "{} and {}",
        used.len(),
        after.len()
    );
    for sent in after {
        assert!(
            !used.contains(&(sent.port, sent.message_id)),
            "message id {} of port {} was used before the restart",
            sent.message_id,
            sent.port
        );
    }
    Ok(())
}

#[test]
fn a_gateway_that_was_stopped_goes_on_with_its_registrations_and_observations() -> anyhow::Result<()> {
    goes_on_after(|street| {
        assert_eq!(street.stop_gateway()?, Some(0));
        Ok(())
    })
}

#[test]
fn a_gateway_that_was_killed_goes_on_and_reuses_no_port_and_no_message_id() -> anyhow::Result<()> {
    goes_on_after(Street::kill_gateway)
}
